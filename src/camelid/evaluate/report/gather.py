"""Gathers what all stages of one run, or of several, have measured into one report.

It reads manifests and result files only, so any list of stages gives a report; what was not run is not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.report.checks import check_points, check_reward, check_version
from camelid.evaluate.report.comparison import comparison
from camelid.evaluate.report.conversations import Answered, examples, read_answers
from camelid.evaluate.report.lineage import lineage, paths
from camelid.evaluate.report.measures import stage_measures
from camelid.evaluate.report.notes import evaluates, notes
from camelid.evaluate.report.sources import Manifest, Source, label, model_name, read_lines, read_object

Report = dict[str, Any]
ON_ROLLOUTS = ("train_ppo", "train_policy_gradient", "train_online_dpo", "train_expert_iteration")
"""Functions that log score and KL of what the policy draws, by the end of their names."""
LISTS = {"versions": "version", "rewards": "name", "data": "name", "teachers": "name", "stages": "name"}
"""Parts of a run's report that several runs share one table for, and the key under which an entry is named."""


def gather(sources: Sequence[Source], title: str, num_examples: int) -> Report:
    """Everything that the page shows, JSON-able. One run's report is flat; of several, `runs` has each one's own."""
    runs = [gather_run(source) for source in sources]
    alone = len(sources) == 1
    versions = [v for source in sources for v in answered(source, alone=alone)]
    shown = runs[0] | {"title": title} if alone else {"title": title, "runs": runs, "headline": None} | together(runs)
    return shown | {
        "examples": examples(versions, num_examples),
        "num_prompts": len({digest for version in versions for digest in version.answers}),
        "comparison": comparison(versions),
        "measures": [row for source in sources for row in run_measures(source)],
    }


def gather_run(source: Source) -> Report:
    """One run by itself."""
    stages = source.stages
    newest = stages[-1][1]
    versions = [results for _, _, results in version_stages(source)]
    accuracies = [(m["stage"], path / "accuracy.json") for path, m in stages if (path / "accuracy.json").exists()]
    curves = [(m["stage"], path / "curve.json") for path, m in stages if (path / "curve.json").exists()]
    ppo = [(m["stage"], path / "metrics.jsonl") for path, m in stages if m["function"].endswith(ON_ROLLOUTS)]
    return {
        "name": source.name,
        "title": source.name,
        "machine": describe_machine(newest["machine"]),
        "commit": newest["commit"],
        "dirty": newest["dirty"],
        "start_model": start_model(source),
        "notes": notes([m for _, m in stages]) + unfinished(source),
        "headline": headline(versions),
        "versions": versions,
        "rewards": [{"name": name, **check_reward(read_object(path), path)} for name, path in accuracies],
        "best_of_n": [{"name": name, **read_curve(path)} for name, path in curves],
        "ppo": [{"name": name, "points": read_rollouts(f)} for name, f in ppo],
        "data": [data_row(m) for _, m in stages if m["function"].endswith("import_data")],
        "teachers": [teacher_row(m) for _, m in stages if "kept" in m["metrics"] and "tokens_a_row" in m["metrics"]],
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


def together(runs: Sequence[Report]) -> Report:
    """The lists of all runs as one, every entry named with its run."""
    return {
        part: [entry | {"run": run["name"], key: label(run["name"], entry[key])} for run in runs for entry in run[part]]
        for part, key in LISTS.items()
    }


def version_stages(source: Source) -> list[tuple[Path, Manifest, dict[str, Any]]]:
    """The stages that evaluated a version, with their results.

    Results without a manifest are a version's where they name one and say what it refused or how it was scored.
    A version that was evaluated twice, on other prompts say, is called by its stage or its folder too.
    """
    found = []
    for path, manifest in source.stages:
        file = path / "results.json"
        results = read_object(file) if file.exists() else {}
        bare = not manifest["function"] and "version" in results and {"refusals", "judge_score"} & results.keys()
        if results and (evaluates(manifest) or bare):
            check_version(results, file)
            found.append((path, manifest, results))
    names = Counter(results["version"] for _, _, results in found)
    stages = Counter(manifest["stage"] for _, manifest, _ in found)
    for path, manifest, results in found:
        if names[results["version"]] > 1:
            stage = manifest["stage"] if stages[manifest["stage"]] == 1 else path.name
            results["version"] = f"{results['version']} ({stage})"
    return found


def answered(source: Source, *, alone: bool) -> list[Answered]:
    """The versions of a run with their answers."""
    return [
        Answered(
            label=results["version"] if alone else label(source.name, results["version"]),
            run=source.name,
            version=results["version"],
            manifest=manifest,
            answers=read_answers(path / "answers.jsonl"),
        )
        for path, manifest, results in version_stages(source)
    ]


def run_measures(source: Source) -> list[dict[str, Any]]:
    """The long table of one run: every measure of every stage, with the version that it is of."""
    versions = version_stages(source)
    own = {path: results["version"] for path, _, results in versions}
    models = {
        m["inputs"]["model"]["sha256"]: results["version"] for _, m, results in versions if "model" in m["inputs"]
    }
    return [
        row
        for path, manifest in source.stages
        for row in stage_measures(source.name, path, manifest, models, own.get(path, ""))
    ]


def headline(versions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The last version against the start."""
    if len(versions) < 2:
        return None
    first, last = (version.get("refusals") or {} for version in (versions[0], versions[-1]))
    return {
        "version": versions[-1]["version"],
        "win_rate": versions[-1].get("win_rate_vs_start"),
        "unsafe_refused": last.get("unsafe"),
        "unsafe_refused_start": first.get("unsafe"),
        "borderline_refused": last.get("borderline"),
        "borderline_refused_start": first.get("borderline"),
    }


def unfinished(source: Source) -> list[str]:
    """Says which stages have not been run to their end."""
    names = ", ".join(source.unfinished)
    return [f"Not finished, so not shown: {names}."] if names else []


def start_model(source: Source) -> str:
    """Name of the model that the first evaluated version comes from."""
    for _, manifest, _ in version_stages(source):
        base = lineage(source, manifest).base
        if base is not None:
            return model_name(base["path"])
    return ""


def read_rollouts(file: Path) -> list[dict[str, Any]]:
    """The iterations of a stage that practises; step 0, where there is one, is a look at held-out prompts alone."""
    rows = list(read_lines(file))
    return check_points(rows[1:] if rows and rows[0].get("step") == 0 else rows, ("kl", "score"), file)


def read_curve(file: Path) -> dict[str, Any]:
    """A curve of the best of N."""
    curve = read_object(file)
    check_points(curve.get("points"), ("n", "mean"), file)
    return curve


def data_row(manifest: Manifest) -> dict[str, Any]:
    """A line of the data table."""
    metrics = manifest["metrics"]
    return {
        "name": manifest["stage"].removeprefix("data/"),
        "rows": metrics.get("kept"),
        "source": ", ".join(Path(file).name for file in paths(manifest["inputs"].get("data"))),
        "licence": manifest["settings"].get("licence") or "stated in the rows",
        "set_aside": metrics.get("set_aside"),
    }


def teacher_row(manifest: Manifest) -> dict[str, Any]:
    """What a stage's teacher was asked, and what each row that was kept took."""
    metrics = manifest["metrics"]
    names = ("asked", "kept", "tokens_a_row", "usd_a_row")
    return {"name": manifest["stage"].removeprefix("data/")} | {name: metrics.get(name) for name in names}


def describe_machine(machine: dict[str, Any]) -> str:
    """One line about the machine."""
    if "cores" not in machine:
        return ""
    device = machine.get("device", "cpu")
    return f"{machine['cores']} cores, {'no GPU' if device == 'cpu' else device}"
