"""The YAML head of a model card, as Hugging Face's hub reads it: library, base model, tags, and the model index."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from camelid.evaluate.report.lineage import Lineage
from camelid.evaluate.report.sources import model_name

TRAINERS = {
    "train_sft": "sft",
    "train_ppo": "ppo",
    "train_policy_gradient": "policy-gradient",
    "sample_best": "rejection-sampling",
    "train_expert_iteration": "expert-iteration",
    "train_dpo": "dpo",
    "train_online_dpo": "online-dpo",
}
"""Tags by the end of a function's name."""


def yaml_head(name: str, line: Lineage, rows: Sequence[dict[str, Any]]) -> str:
    """The head with its rules. Strings are written as JSON, which YAML reads, so no name can break out of its place.

    No `license`: the base model's is in no manifest. `base_model` is a folder's name, and a comment says so.
    """
    functions = [manifest["function"] for _, manifest in line.stages]
    tags = ["camelid", *(tag for end, tag in TRAINERS.items() if any(f.endswith(end) for f in functions))]
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if line.base is not None and line.base != line.model:
        base = json.dumps(model_name(line.base["path"]), ensure_ascii=False)
        lines.append(f"base_model: {base}  # name of its folder; write its id here before publishing")
    lines += ["tags:", *(f"- {tag}" for tag in tags), *_index(name, rows), "---"]
    return "\n".join(lines)


def _index(name: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """The model index: estimates alone, grouped by the stage that measured them."""
    measured: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["low"] is not None and math.isfinite(row["value"]):
            measured.setdefault(row["stage"], []).append(row)
    if not measured:
        return []
    lines = ["model-index:", f"- name: {json.dumps(name, ensure_ascii=False)}", "  results:"]
    for stage, found in measured.items():
        text = json.dumps(stage, ensure_ascii=False)
        lines += [
            "  - task:",
            "      type: text-generation",
            "    dataset:",
            f"      name: {text}",
            f"      type: {text}",
        ]
        lines.append("    metrics:")
        for row in found:
            measure = json.dumps(row["measure"], ensure_ascii=False)
            lines += [f"    - type: {measure}", f"      name: {measure}", f"      value: {row['value']!r}"]
    return lines
