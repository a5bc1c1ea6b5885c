"""How long the stages took that make an arm of a study, where arms are compared at equal time.

The one number of a study that is of the machine and the moment; no other result depends on it.
"""

from __future__ import annotations

import json
from typing import Any

from camelid.durable import write_json
from camelid.runs import Run, Settings


class TookSettings(Settings):
    """Nothing can be set."""


def took(run: Run) -> dict[str, Any]:
    """Stage: `manifests` (manifest.json of finished stages) -> results.json with their `seconds` in all."""
    files = run.inputs["manifests"] if isinstance(run.inputs["manifests"], list) else [run.inputs["manifests"]]
    seconds = sum(json.loads(file.read_text())["seconds"] for file in files)
    write_json(run.path / "results.json", {"seconds": seconds})
    return {"seconds": seconds}
