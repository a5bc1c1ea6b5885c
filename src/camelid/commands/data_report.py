"""`camelid data report`: a page that says what is in a file of rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from camelid.collect.readers import read, summary
from camelid.commands import print_json, say
from camelid.evaluate.pool.page import write_pool_page
from camelid.types import Conversation


def report(arguments: argparse.Namespace) -> int:
    """Read files of any known format, write the page, print its place."""
    rows: list[Conversation] = []
    notes = []
    for file in arguments.files:
        result = read(Path(file), want=Conversation)
        rows += result.rows
        say(summary(result))
        if result.set_aside:
            notes.append(
                f"{len(result.set_aside):,} rows of {Path(file).name} do not fit; `camelid data check` says why."
            )
    if not rows:
        raise ValueError(f"{', '.join(arguments.files)}: no conversation; `camelid data check` says what there is")
    folder = Path(arguments.out)
    title = " and ".join(Path(file).name for file in arguments.files)
    found = write_pool_page(rows, folder, title=title, topics=arguments.topics, notes=notes)
    print_json(found) if arguments.json else print(folder / "report.html")
    return 0
