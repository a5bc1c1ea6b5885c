"""Writes the report of a run: report.html (one file that needs nothing else), report.json beside it, figures/*.png.

    write_report(report, Path("runs/quickstart"))

The page loads nothing from the network: pictures are inside, fonts are the reader's own. Prompts, answers, notes and
names are other people's text, so the template escapes all of it, and a content security policy forbids the page to load
or run anything but its own style and one script known by its hash. Left out: PDF, and anything that needs a server.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from camelid.durable import write_json
from camelid.evaluate.report.figure_style import DARK, LIGHT, version_colours
from camelid.evaluate.report.figures import SLOTS, Picture, draw_pictures
from camelid.evaluate.report.page_everything import kinds, matrices
from camelid.evaluate.report.page_headline import headlines
from camelid.evaluate.report.page_numbers import number
from camelid.evaluate.report.page_tables import (
    data_table,
    quality_table,
    ratings_table,
    rewards_table,
    shape_table,
    sources_table,
    stages_table,
)

Report = dict[str, Any]


def write_report(report: Report, folder: Path) -> Path:
    """Write the page, its JSON twin and its figures into `folder`; returns the path of report.html.

    `report` is the dictionary of report.json. Only `versions` must be there, a list of which each entry has its name
    under 'version'; parts that are missing or None are named as such on the page. Figures of an earlier report in the
    same folder are replaced. Raises KeyError where an entry lacks its name.
    """
    pictures = [draw_pictures(run) for run in _runs(report)]
    page = render_page(report, pictures)
    write_json(folder / "report.json", report)
    _write_figures(report, pictures, folder / "figures")
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _runs(report: Report) -> list[Report]:
    """Each run's own report; a report of one run is that itself."""
    return report.get("runs") or [report]


def _write_figures(report: Report, pictures: Sequence[Sequence[Picture]], folder: Path) -> None:
    """The pictures as files. An older report's would pass for this one's, so they go."""
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(slot.name for slot in SLOTS)
    for old in folder.glob("*.png"):
        if old.stem.endswith(names):
            old.unlink()
    for run, drawn in zip(_runs(report), pictures, strict=True):
        before = f"{re.sub(r'[^A-Za-z0-9.]+', '-', run['name'])}-" if "runs" in report else ""
        for picture in drawn:
            if picture.light:
                (folder / f"{before}{picture.name}.png").write_bytes(picture.light)


def render_page(report: Report, pictures: Sequence[Sequence[Picture]]) -> str:
    """The page as text; `pictures` has those of each run."""
    loader = PackageLoader("camelid.evaluate.report")
    # StrictUndefined: a misspelt name in the template is an error, not an empty space.
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["data_uri"] = _data_uri
    script, _, _ = loader.get_source(environment, "report.js")
    names = [version["version"] for version in report["versions"]]
    runs = _runs(report)
    examples = [_example(example, names) for example in report.get("examples") or []]
    return environment.get_template("report.html.jinja").render(
        title=report.get("title") or "untitled run",
        runs=[_run(run, drawn) for run, drawn in zip(runs, pictures, strict=True)],
        comparison=report.get("comparison") or {"notes": []},
        matrices=matrices(report),
        kinds=kinds(report),
        tables={
            "quality": quality_table(report),
            "shape": shape_table(report),
            "sources": sources_table(report),
            "rewards": rewards_table(report),
            "ratings": ratings_table(report),
            "data": data_table(report),
            "stages": stages_table(report),
        },
        names=names,
        colours=[
            pair
            for count in (len(run["versions"]) for run in runs)  # each run's swatches are those of its figures
            for pair in zip(version_colours(count, LIGHT), version_colours(count, DARK), strict=True)
        ],
        examples=examples,
        num_prompts=report.get("num_prompts"),
        tags=sorted({tag for example in examples for tag in example["tags"]}),
        first_shown=_first_shown(report),
        script=Markup(script),  # ours, from the package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _run(run: Report, pictures: Sequence[Picture]) -> dict[str, Any]:
    """What one run came to: its facts, headlines, warnings and pictures."""
    return {
        "name": run.get("name") or run.get("title") or "untitled run",
        "facts": _facts(run),
        "path": " → ".join(version["version"] for version in run["versions"]),
        "headline_version": (run.get("headline") or {}).get("version"),
        "headlines": headlines(run),
        "notes": run.get("notes") or [],
        "pictures": pictures,
    }


def _facts(report: Report) -> list[str]:
    """What was run, where and with which code: the line under the title."""
    recipe, start, created = report.get("recipe"), report.get("start_model"), report.get("created")
    commit = report.get("commit")
    code = f"commit {commit}" if commit else "installed package, commit unknown"
    facts = [
        f"recipe {recipe}" if recipe else "",
        f"from {start}" if start else "",
        _date(created) if created else "",
        report.get("machine") or "machine not recorded",
        f"{code}, with uncommitted changes" if report.get("dirty") else code,
    ]
    return [fact for fact in facts if fact]


def _date(text: str) -> str:
    """'22 November 2026' for an ISO date or time; anything else as it is."""
    try:
        day = datetime.datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day} {day:%B %Y}"


def _example(example: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A conversation with its answers in the order of the versions; `place` is the version's, None for a stranger."""
    answers = []
    for answer in example.get("answers") or []:
        score = answer.get("judge_score")
        version = answer["version"]
        answers.append(
            {
                "version": version,
                "place": names.index(version) if version in names else None,
                "text": answer.get("text") or "",
                "refused": bool(answer.get("refused")),
                "score": None if score is None else number(score, 2, signed=True),
            }
        )
    answers.sort(key=lambda answer: len(names) if answer["place"] is None else answer["place"])
    return {"prompt": example["prompt"], "tags": example.get("tags") or [], "answers": answers}


def _first_shown(report: Report) -> list[bool]:
    """Which versions' answers are open at first where there are many: the first two and the headline's, or the last.

    Of several runs, the very first and each run's last. The page's script closes the others; without it all are shown.
    """
    versions = report["versions"]
    if len(versions) <= 4:
        return [True] * len(versions)
    ends = {version.get("run"): version["version"] for version in versions}  # the last of a run wins
    names = [version["version"] for version in versions]
    headline = (report.get("headline") or {}).get("version")
    shown = {headline} if headline in names else set(ends.values())
    return [place < (2 if len(ends) == 1 else 1) or name in shown for place, name in enumerate(names)]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
