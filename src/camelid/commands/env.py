"""`camelid env`: what this machine and this installation are, for bug reports and for the curious."""

from __future__ import annotations

import argparse
import os
from typing import Any

from camelid import __version__
from camelid.commands import print_json
from camelid.provenance import provenance
from camelid.table import print_table


def env(arguments: argparse.Namespace) -> int:
    """Print versions, machine, chosen device and precision, and where models are kept."""
    facts = _facts()
    if arguments.json:
        print_json(facts)
        return 0
    print_table(("", ""), [[name, str(value)] for name, value in _flat(facts)])
    return 0


def _facts() -> dict[str, Any]:
    from camelid.models.loading import cache_folder

    compute = _compute()  # before the provenance, which tells of a GPU only once torch is loaded
    code = provenance()
    memory = {"memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}
    return {
        "versions": {"camelid": __version__} | code["versions"],
        "commit": code["commit"],
        "dirty": code["dirty"],
        "machine": code["machine"] | memory,
        "chosen": compute,
        "cache": str(cache_folder()),
    }


def _compute() -> dict[str, str] | None:
    """The device and number format that `auto` chooses here; None without torch."""
    try:
        from camelid.models.compute import choose_compute
    except ModuleNotFoundError:
        return None
    compute = choose_compute()
    return {"device": str(compute.device), "precision": str(compute.dtype).removeprefix("torch.")}


def _flat(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Nested facts in one list, as `machine.cores`."""
    flat: list[tuple[str, Any]] = []
    for name, value in facts.items():
        flat += [(f"{name}.{key}", item) for key, item in value.items()] if isinstance(value, dict) else [(name, value)]
    return flat
