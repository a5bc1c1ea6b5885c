"""`camelid data`: files checked and converted."""

from __future__ import annotations

import argparse
from pathlib import Path

from camelid.collect.check import check as check_file
from camelid.collect.readers import look, read, summary, write_set_aside
from camelid.collect.writers import write
from camelid.commands import print_json, say
from camelid.types import KINDS


def check(arguments: argparse.Namespace) -> int:
    """What is in a file; the exit code tells good (0), usable (1) and unusable (2)."""
    report = check_file(Path(arguments.file))
    print_json(report.as_json()) if arguments.json else print(report)
    return report.exit_code


def convert(arguments: argparse.Namespace) -> int:
    """Read any known format, write another; rows that do not fit go to a file beside the output."""
    source, output = Path(arguments.file), Path(arguments.output)
    want = KINDS[arguments.kind] if arguments.kind else look(source)[1]
    result = read(source, want=want, strict=arguments.strict)
    if not result.rows:
        raise ValueError(f"{source} holds no {arguments.kind or 'row'} to convert; `camelid data check` says why")
    count = write(result.rows, output, arguments.to)
    say(f"{summary(result)}\n{count} rows written")
    if result.set_aside:
        aside = output.with_suffix(".set_aside.jsonl")
        write_set_aside(aside, result.set_aside)
        say(f"rows that do not fit: {aside}")
    print(output)
    return 0
