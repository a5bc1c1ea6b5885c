"""`camelid teacher`: recorded answers as a server, and what a journal holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from camelid.commands import print_json, say
from camelid.models.journal import Journal
from camelid.models.replay_server import ReplayServer, ReplaySettings


def replay(arguments: argparse.Namespace) -> int:
    """Serve recorded answers until Ctrl-C."""
    settings = ReplaySettings(
        port=arguments.port,
        faults=arguments.faults,
        latency_seconds=arguments.latency,
        requests_per_minute=arguments.requests_per_minute,
        seed=arguments.seed,
    )
    server = ReplayServer(Path(arguments.file), settings)
    print(server.url, flush=True)
    say(f"{len(server.answerer.rows)} recorded answers, as model {server.name}; Ctrl-C ends")
    try:
        server.serve()
    except KeyboardInterrupt:
        counts = ", ".join(f"{number} {what}" for what, number in server.counts.most_common())
        say(f"{counts}; at most {server.most_at_once} at once" if counts else "nobody asked")
    return 0


def journal(arguments: argparse.Namespace) -> int:
    """What was asked and paid."""
    path = Path(arguments.file)
    if not path.exists():
        raise ValueError(f"{path} does not exist; a stage's journal lies beside its directory, teacher-MODEL.sqlite")
    found = Journal(path)
    prompt, completion = found.tokens()
    number, answered = found.counts()
    told = {
        "requests": number,
        "answered": answered,
        "attempts": found.attempts(),
        "in_doubt": found.in_doubt(),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
    }
    if arguments.json:
        print_json(told)
    else:
        for name, value in told.items():
            print(f"{name.replace('_', ' ')}: {value:,.0f}")
    return 0
