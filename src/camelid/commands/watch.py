"""`camelid watch`: a live page of runs, for a browser on this machine."""

from __future__ import annotations

import argparse

from camelid.commands import say
from camelid.serve.watch.runs import read_watched
from camelid.serve.watch.server import Server
from camelid.serve.watch.view import View


def watch(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    if not 0 <= arguments.port < 2**16:
        raise ValueError(f"--port {arguments.port}: give a port from 1 to 65535, or none for the first free one")
    watched = read_watched(arguments.run)
    for run in watched:
        if not run.begun():
            say(f"{run.root} has not begun; the page will show it when it does")
    with Server(View(watched), arguments.port) as server:
        print(server.url, flush=True)
        say("open it in a browser on this machine; Ctrl-C ends the page, not the run")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
    return 0
