"""`camelid eval tasks` lists benchmarks, `camelid eval task` runs them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camelid.commands import print_json, say
from camelid.commands.shown import in_units
from camelid.table import print_table

if TYPE_CHECKING:
    from camelid.evaluate.tasks.task import Task

CHECKED = ("task", "n", "rows", "largest_difference", "largest_difference_a_token", "longest_row_tokens")


def data_folder(name: str) -> Path:
    """The folder of `--data`, or of CAMELID_DATA. Raises ValueError where there is none."""
    folder = name or os.environ.get("CAMELID_DATA", "")
    if not folder:
        raise ValueError("no data: give --data FOLDER, or set CAMELID_DATA; the folder holds benchmarks/*.jsonl")
    if not Path(folder).is_dir():
        raise ValueError(f"no folder {folder}")
    return Path(folder)


def list_tasks(arguments: argparse.Namespace) -> int:
    """Every task with its number of items, and the counts of other data sets."""
    from camelid.evaluate.tasks.inventory import count_data_sets, count_tasks

    data = data_folder(arguments.data)
    tasks, others = count_tasks(data), count_data_sets(data)
    if arguments.json:
        print_json({"tasks": tasks, "data_sets": others})
        return 0
    rows = [
        [
            t["task"],
            "absent" if t["n"] is None else f"{t['n']:,}",
            str(t["shots"]),
            ", ".join(t["measures"]),
            t["about"],
        ]
        for t in tasks
    ]
    print_table(["task", "items", "shots", "measures", "what is asked"], rows, right=["items", "shots"])
    for name, value in others.items():
        print(f"{name}: {', '.join(value) if isinstance(value, list) else format(value, ',')}")
    return 0


def run_tasks(arguments: argparse.Namespace) -> int:
    """Ask a model the questions of one or more tasks; or check how exactly with --verify."""
    from pydantic import ValidationError

    from camelid.evaluate.tasks.registry import find_task
    from camelid.evaluate.tasks.stage import TaskSettings, check_settings, evaluate_task
    from camelid.models.loading import resolve_model
    from camelid.models.model_settings import ModelSettings
    from camelid.runs import Stage, execute
    from camelid.types import reasons

    data = data_folder(arguments.data)
    header = Path(arguments.header).read_text(encoding="utf-8") if arguments.header else None
    checked = arguments.precision == "checked"
    try:
        common = TaskSettings(
            shots=arguments.shots,
            limit=arguments.limit,
            header=header,
            in_chat=arguments.chat,
            max_new_tokens=arguments.max_new_tokens,
            samples=arguments.samples,
            temperature=arguments.temperature,
            allow_code=arguments.allow_code,
            model=ModelSettings(precision="float32" if checked else arguments.precision),
            checked=checked,
            seed=arguments.seed,
        )
    except ValidationError as error:
        raise ValueError(reasons(error)) from None
    chosen = [common.model_copy(update={"task": find_task(name).name}) for name in dict.fromkeys(arguments.task)]
    for s in chosen:
        check_settings(find_task(s.task), s)
    paths = [find_task(s.task).path(data) for s in chosen]
    model = resolve_model(arguments.model)
    if arguments.verify:
        return _verify(arguments, model, list(zip(paths, chosen, strict=True)))
    stages = [
        Stage(f"task-{s.task}", evaluate_task, s, inputs(find_task(s.task), s.shots, model, data, arguments.train))
        for s in chosen
    ]
    finished = execute(stages, Path(arguments.out), announce=say)
    results = [json.loads((finished[stage.name] / "results.json").read_text()) for stage in stages]
    if arguments.json:
        print_json({"model": str(arguments.model), "tasks": [as_json(r) for r in results]})
        return 0
    print_table(["task", "measure", "value", "95% interval", "s.e.", "n", "shots"], _rows(results), right=["value"])
    for key, about in (("shots_from", "examples of "), ("rule", "")):
        for note in sorted({r[key] for r in results if r[key]}):
            say(f"{about}{', '.join(r['task'] for r in results if r[key] == note)}: {note}")
    _say_checked(results)
    _say_contamination(results)
    return 0


def inputs(task: Task, shots: int | None, model: Path, data: Path, train: list[str]) -> dict[str, Path | list[Path]]:
    """What the stage reads: with another one of these files it is another run."""
    found: dict[str, Path | list[Path]] = {"model": model, "data": task.path(data)}
    if task.shots_file and shots != 0 and (data / task.shots_file).exists():
        found["examples"] = data / task.shots_file
    if train:
        found["train"] = [Path(file) for file in train]
    return found


def _say_checked(results: list[dict[str, Any]]) -> None:
    """How the choices came about, where bfloat16 was asked first."""
    for r in results:
        if found := r["checked"]:
            say(
                f"{r['task']}: {found['in_float32']:,} of {r['n']:,} questions were close and answered in float32, the "
                f"others in bfloat16 (log-likelihoods off by {found['most_off_by']:.2f} nats at most)"
            )


def _say_contamination(results: list[dict[str, Any]]) -> None:
    """With every score, what of its questions stood in the training data; that nobody looked is said, too."""
    for r in results:
        found = r["contamination"]
        if found is None:
            continue
        if "unknown" in found:
            say(f"{r['task']}, contamination: {found['unknown']}")
            continue
        dirty, clean = found["dirty"], found[f"{r['headline']}_without_dirty"]
        without = f"; {r['headline']} without them {_shown(clean['value'])}" if clean and found["dirty_items"] else ""
        say(
            f"{r['task']}, contamination: {in_units(dirty)}% dirty, {in_units(found['not_clean'])}% not clean "
            f"(n = {dirty['n']}, {found['training_rows']} training rows){without}"
        )
    if any(r["contamination"] is None for r in results):
        say("contamination: not looked for; name what the model was trained on with --train FILE...")


def as_json(results: dict[str, Any]) -> dict[str, Any]:
    """One flat object: each measure by its name, with its interval and standard error."""
    flat = {
        name: results[name]
        for name in ("task", "n", "shots", "shots_from", "rule", "headline", "checked", "contamination")
    }
    for name, m in results["measures"].items():
        flat[name] = m["value"]
        flat[f"{name}_interval"] = [m["low"], m["high"]]
        flat[f"{name}_standard_error"] = m["standard_error"]
    return flat | {"by_group": {group: m["value"] for group, m in results["by_group"].items()}}


def _rows(results: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for r in results:
        for name, m in r["measures"].items():
            value, low, high, error = (_shown(m[key]) for key in ("value", "low", "high", "standard_error"))
            rows.append(
                [r["task"], name, f"{value}{m['unit']}", f"{low} to {high}", error, str(m["n"]), str(r["shots"])]
            )
    return rows


def _shown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}"


def _verify(arguments: argparse.Namespace, model: Path, chosen: list[tuple[Path, Any]]) -> int:
    from camelid.evaluate.tasks.verify import verify

    checks = []
    for path, settings in chosen:
        checks.append(verify(model, path, settings, arguments.verify))
        say(f"{settings.task}: largest difference {checks[-1]['largest_difference']:.1e} nats")
    if arguments.json:
        print_json({"model": str(arguments.model), "tasks": checks})
        return 0
    shown = [[f"{c[key]:.1e}" if isinstance(c[key], float) else str(c[key]) for key in CHECKED] for c in checks]
    print_table([name.replace("_", " ") for name in CHECKED], shown, right=[n.replace("_", " ") for n in CHECKED[1:]])
    return 0
