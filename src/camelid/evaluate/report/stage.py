"""The stage that gathers what all stages of a run have measured into one report.

It reads manifests and result files only, so any list of stages gives a report; what was not run is not shown.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from camelid.durable import read_whole_lines
from camelid.evaluate.report.page import write_report
from camelid.runs import Run, Settings, read_manifest
from camelid.types import iterate_json_lines


class ReportSettings(Settings):
    """The report."""

    title: str = "run"
    """Title of the page."""
    num_examples: int = 16
    """Conversations shown side by side."""


def write_run_report(run: Run) -> dict[str, Any]:
    """Stage: `stages` (directories of finished stages) -> report.html, report.json, figures/."""
    s: ReportSettings = run.settings
    stages = [(path, manifest) for path in run.inputs["stages"] if (manifest := read_manifest(path))]
    report = gather(stages, s)
    write_report(report, run.path)
    headline = report["headline"] or {}
    return {key: value["value"] for key, value in headline.items() if isinstance(value, dict)}


def gather(stages: list[tuple[Path, dict[str, Any]]], s: ReportSettings) -> dict[str, Any]:
    """Everything that the page shows, JSON-able."""
    newest = stages[-1][1]
    by_file = {
        name: [(manifest["stage"], path / name) for path, manifest in stages if (path / name).exists()]
        for name in ("results.json", "answers.jsonl", "accuracy.json", "curve.json")
    }
    versions = [json.loads(path.read_text()) for _, path in by_file["results.json"]]
    ppo = [(m["stage"], path / "metrics.jsonl") for path, m in stages if m["function"].endswith("train_ppo")]
    return {
        "title": s.title,
        "recipe": s.title,
        "machine": describe_machine(newest["machine"]),
        "commit": newest["commit"],
        "dirty": newest["dirty"],
        "start_model": start_model(stages),
        "notes": notes(stages),
        "headline": headline(versions),
        "versions": versions,
        "rewards": [{"name": name, **json.loads(path.read_text())} for name, path in by_file["accuracy.json"]],
        "best_of_n": [{"name": name, **json.loads(path.read_text())} for name, path in by_file["curve.json"]],
        "ppo": [{"name": name, "points": list(iterate_json_lines(path))} for name, path in ppo],
        "examples": examples([path for _, path in by_file["answers.jsonl"]], versions, s.num_examples),
        "data": [data_row(m) for _, m in stages if m["function"].endswith("import_data")],
        "stages": [
            {
                "name": m["stage"],
                "path": path.name,
                "seconds": m["seconds"],
                "peak_memory_bytes": m["peak_memory_bytes"],
            }
            for path, m in stages
        ],
    }


def headline(versions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The last version against the start."""
    if len(versions) < 2:
        return None
    first, last = versions[0], versions[-1]
    return {
        "version": last["version"],
        "win_rate": last.get("win_rate_vs_start"),
        "unsafe_refused": last["refusals"].get("unsafe"),
        "unsafe_refused_start": first["refusals"].get("unsafe"),
        "borderline_refused": last["refusals"].get("borderline"),
        "borderline_refused_start": first["refusals"].get("borderline"),
    }


def examples(answers: list[Path], versions: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Evenly spaced prompts, each with the answer of every version."""
    read = [[json.loads(line) for line in read_whole_lines(path)] for path in answers]
    if not read:
        return []
    rows = range(0, len(read[0]), max(len(read[0]) // number, 1))
    return [
        {
            "prompt": read[0][i]["prompt"],
            "tags": read[0][i]["tags"],
            "answers": [
                {
                    "version": version["version"],
                    "text": of_version[i]["text"],
                    "refused": of_version[i]["refused"],
                    "judge_score": of_version[i]["judge_score"],
                }
                for version, of_version in zip(versions, read, strict=True)
            ],
        }
        for i in rows
    ]


def notes(stages: list[tuple[Path, dict[str, Any]]]) -> list[str]:
    """What a reader must know before believing a number, in plain words."""
    manifests = {m["stage"]: m for _, m in stages}
    said = []
    judge, annotator = manifests.get("judge"), manifests.get("annotator")
    if judge:
        said.append(
            f"No person judged these answers. The judge is a reward model trained on {judge['metrics']['num_train']} "
            f"comparisons that the trained models never saw."
        )
    if annotator:
        said.append(
            f"Nobody annotated the rounds. A scripted annotator, a reward model trained on "
            f"{annotator['metrics']['num_train']} held-back comparisons, stood in for people."
        )
    judged = [m for m in manifests.values() if m["function"].endswith("annotate_by_judge")]
    if judged:
        said.append(f"No person annotated the rounds. An AI judge did: {judged[0]['settings']['remote']['model']}.")
    cut = [m["settings"]["sampling"]["max_new_tokens"] for m in manifests.values() if "version" in m["settings"]]
    if cut:
        said.append(f"Answers are cut after {cut[0]} tokens, for every version alike, and judged as they are.")
    said.append(
        "A refusal is told by its opening words; that rule agrees with people on 96% of 874 answers to XSTest "
        "by two models on whose answers it was not written (a partial refusal counts as a refusal)."
    )
    return said


def start_model(stages: list[tuple[Path, dict[str, Any]]]) -> str:
    """Name of the folder of the model that everything started from."""
    for _, manifest in stages:
        if "version" in manifest["settings"]:
            return Path(manifest["inputs"]["model"]["path"]).name
    return ""


def data_row(manifest: dict[str, Any]) -> dict[str, Any]:
    """A line of the data table."""
    files = manifest["inputs"]["data"]["path"]
    names = ", ".join(Path(file).name for file in (files if isinstance(files, list) else [files]))
    metrics = manifest["metrics"]
    return {
        "name": manifest["stage"].removeprefix("data/"),
        "rows": metrics["kept"],
        "source": names,
        "licence": manifest["settings"]["licence"] or "stated in the rows",
        "set_aside": metrics["set_aside"],
    }


def describe_machine(machine: dict[str, Any]) -> str:
    """One line about the machine."""
    device = machine.get("device", "cpu")
    return f"{machine['cores']} cores, {'no GPU' if device == 'cpu' else device}, {platform.machine()}"
