"""A model card for every version: Hugging Face's layout, a YAML head and Markdown, from manifests and results alone.

Says what it was made from, how, what was measured with intervals and n, and what was not. A sentence is written only
where a manifest has what it says; what is unknown is called so. Names and paths stand in code spans, other people's
text is escaped. Left out: intended uses and biases, which no manifest knows; write them yourself before publishing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.report.card_head import yaml_head
from camelid.evaluate.report.card_text import code, plain, slug, table
from camelid.evaluate.report.gather import version_stages
from camelid.evaluate.report.lineage import Finished, Lineage, data_stages, licences, lineage, made_by, paths
from camelid.evaluate.report.notes import notes
from camelid.evaluate.report.page_measures import QUALITY_MEASURES, SHAPE_MEASURES
from camelid.evaluate.report.page_numbers import duration_text, exact_text
from camelid.evaluate.report.sources import Manifest, Source, label, model_name

MARK = "<!-- Written by `camelid report`; it is replaced when the report is written again. -->"


def write_cards(sources: Sequence[Source], report: dict[str, Any], folder: Path) -> list[Path]:
    """Write a card for every version of every run; those of an earlier report in the same folder are replaced."""
    for old in folder.glob("*.md"):
        if MARK.encode() in old.read_bytes():
            old.unlink()
    written: list[Path] = []
    for source in sources:
        for _, manifest, results in version_stages(source):
            name = results["version"] if len(sources) == 1 else label(source.name, results["version"])
            stem = slug(name)
            same = sum(re.fullmatch(rf"{re.escape(stem)}(-\d+)?", path.stem) is not None for path in written)
            path = folder / f"{stem}{f'-{same + 1}' if same else ''}.md"
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(card(source, manifest, results, name, report), encoding="utf-8")
            written.append(path)
    return written


def card(source: Source, manifest: Manifest, results: dict[str, Any], name: str, report: dict[str, Any]) -> str:
    """The card of one version as text."""
    line = lineage(source, manifest)
    rows = [r for r in report["measures"] if r["run"] == source.name and r["version"] == results["version"]]
    judge = [made_by(source, path) for path in paths(manifest["inputs"].get("judge"))]
    behind = [stage[1] for stage in (*line.stages, *judge) if stage is not None]
    sections = [
        [yaml_head(name, line, rows), MARK, f"# {plain(name)}", *_made(source, line, manifest)],
        ["## Base model", _base(line)],
        ["## Data", *_data(line)],
        ["## Method", *_method(source, line)],
        ["## Evaluation", *_evaluation(source, manifest, results), _numbers(rows)],
        ["## Limits", *_limits([*behind, manifest], results, rows)],
    ]
    return "\n\n".join(text for section in sections for text in section) + "\n"


def _made(source: Source, line: Lineage, manifest: Manifest) -> list[str]:
    if line.model is None:
        return ["No manifest says which model gave these answers."]
    maker = made_by(source, line.model["path"])
    digest = f"SHA-256 of the model: {code(line.model['sha256'])}."
    if maker is None:
        return [f"No stage of {code(source.name)} has made this model: it came from outside. {digest}"]
    made = maker[1]
    version = (made.get("versions") or {}).get("camelid")
    commit = f"commit {code(made['commit'])}" if made["commit"] else "commit unknown"
    dirty = ", with uncommitted changes" if made["dirty"] else ""
    by = f"camelid {version or 'of unknown version'} ({commit}{dirty})"
    return [f"Made by {by} in stage {code(made['stage'])} of {code(source.name)}. {digest}"]


def _base(line: Lineage) -> str:
    if line.base is None:
        return "Not recorded."
    if line.base == line.model:
        return "Not recorded here, since the model came from outside. The manifests do not state its licence."
    name, digest = code(model_name(line.base["path"])), code(line.base["sha256"])
    return f"{name}, SHA-256 {digest}. The manifests do not state its licence."


def _data(line: Lineage) -> list[str]:
    """What the model was trained on, with licences, or that it was not trained here."""
    stages = list(data_stages(line.stages))
    if not stages:
        return ["No data stage lies behind this model here."]
    rows = [
        [code(m["stage"]), str(m["metrics"].get("kept", "")), _files(m["inputs"].get("data")), _licences((path, m))]
        for path, m in stages
    ]
    return [table(("data", "rows", "files", "licence (rows)"), rows, right=(1,))]


def _files(value: dict[str, Any] | None) -> str:
    return ", ".join(code(Path(path).name) for path in paths(value)) or "not recorded"


def _licences(stage: Finished) -> str:
    return ", ".join(f"{plain(licence) or 'not stated'} ({count})" for licence, count in licences(stage))


def _method(source: Source, line: Lineage) -> list[str]:
    """The stages behind the model: what each read, how long it took, and all its settings."""
    data = list(data_stages(line.stages))
    stages = [stage for stage in line.stages if stage not in data]
    if not stages:
        return ["No training stage lies behind this model here."]
    rows = [[code(m["stage"]), code(m["function"].rpartition(".")[2]), _inputs(source, m), _time(m)] for _, m in stages]
    settings = "\n".join(f"{m['stage']}: {json.dumps(m['settings'], ensure_ascii=False)}" for _, m in stages)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", settings)), default=0))
    return [
        table(("stage", "kind", "reads", "time"), rows, right=(3,)),
        f"Settings of each stage:\n\n{fence}\n{settings}\n{fence}",
    ]


def _time(manifest: Manifest) -> str:
    return "" if manifest["seconds"] is None else duration_text(manifest["seconds"])


def _inputs(source: Source, manifest: Manifest) -> str:
    """'model: `sft`; prompts: `data/prompts`': what a stage read, by the stage that left it, else by file name."""
    said = []
    for name, value in manifest["inputs"].items():
        makers = [made_by(source, path) for path in paths(value)]
        names = [
            maker[1]["stage"] if maker else model_name(path) for maker, path in zip(makers, paths(value), strict=True)
        ]
        said.append(f"{name}: {', '.join(code(n) for n in dict.fromkeys(names))}")
    return "; ".join(said)


def _evaluation(source: Source, manifest: Manifest, results: dict[str, Any]) -> list[str]:
    """How the answers were drawn and judged."""
    sampling = manifest["settings"].get("sampling") or {}
    said = [f"{results['n']} prompts" if isinstance(results.get("n"), int) else ""]
    said += [f"inputs: {_inputs(source, manifest)}" if manifest["inputs"] else "no manifest says how"]
    said += [f"{key} {value}" for key, value in sampling.items() if key in ("temperature", "max_new_tokens")]
    return [f"{'; '.join(text for text in said if text)}."]


def _numbers(rows: Sequence[dict[str, Any]]) -> str:
    body = [
        [code(r["measure"]), *(exact_text(r[part]) for part in ("value", "low", "high", "n")), code(r["stage"])]
        for r in rows
    ]
    head = ("measure", "value", "95% from", "to", "n", "stage")
    return table(head, body, right=(1, 2, 3, 4)) if body else "Nothing was measured."


def _limits(behind: list[Manifest], results: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Warnings from the manifests behind model and numbers, the known measures that are missing, and no others."""
    missing = "; ".join(m.name for m in (*QUALITY_MEASURES, *SHAPE_MEASURES) if m.take(results) is None)
    stages = ", ".join(dict.fromkeys(code(row["stage"]) for row in rows))
    said = [plain(note) for note in notes(behind)]
    if missing:
        said.append(plain(f"Not measured for this version: {missing}."))
    if stages:
        said.append(f"The numbers come from {stages} alone; what is not in the table above was not measured.")
    said.append("An interval covers the luck of which prompts were asked. It does not cover another training seed.")
    return ["\n".join(f"- {text}" for text in said)]
