"""`camelid report`: one page for one run or several, with its JSON and CSV twins and a card for every version."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from camelid.commands import say
from camelid.evaluate.report.gather import gather
from camelid.evaluate.report.sources import read_sources
from camelid.evaluate.report.write import write_all


def report(arguments: argparse.Namespace) -> int:
    """Read the runs, write the report, print where it is."""
    if arguments.conversations < 0:
        raise ValueError(f"--conversations {arguments.conversations}: give 0 or more")
    sources = read_sources(arguments.run)
    title = arguments.title or ", ".join(source.name for source in sources)
    gathered = gather(sources, title, arguments.conversations)
    if not gathered["measures"]:
        raise ValueError(f"{', '.join(str(s.path) for s in sources)}: no stage has measured anything yet")
    files = write_all(sources, gathered, Path(arguments.out))
    if arguments.json:
        print(json.dumps(_as_json(gathered, files)))
        return 0
    for note in (gathered["comparison"] or {}).get("notes", []):
        say(note)
    say(f"{len(gathered['measures'])} numbers of {len(sources)} runs; cards: {files['html'].parent / 'cards'}")
    print(files["html"])
    return 0


def _as_json(gathered: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    """Where everything is, and each version's headline numbers in percent."""
    return {
        "html": str(files["html"]),
        "json": str(files["json"]),
        "csv": str(files["csv"]),
        "cards": [str(path) for path in files["cards"]],
        "num_measures": len(gathered["measures"]),
        "versions": [_version_json(version) for version in gathered["versions"]],
        "comparable": [group["versions"] for group in (gathered["comparison"] or {}).get("groups", [])],
        "notes": (gathered["comparison"] or {}).get("notes", []),
    }


def _version_json(version: dict[str, Any]) -> dict[str, Any]:
    rate = version.get("win_rate_vs_start")
    refusals = version.get("refusals") or {}
    return {
        "version": version["version"],
        "n": version.get("n"),
        "win_rate": rate and 100 * rate["value"],
        "win_rate_interval": rate and [100 * rate["low"], 100 * rate["high"]],
        "refused": {kind: 100 * share["value"] for kind, share in refusals.items()},
    }
