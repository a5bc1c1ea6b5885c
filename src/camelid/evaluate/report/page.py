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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from camelid.durable import write_json
from camelid.evaluate.report.card_text import slug
from camelid.evaluate.report.figure_style import DARK, LIGHT, version_colours
from camelid.evaluate.report.figures import Picture, draw_kind, draw_pictures
from camelid.evaluate.report.page_conversations import first_shown, page_example
from camelid.evaluate.report.page_everything import kinds, matrices
from camelid.evaluate.report.page_headline import headlines
from camelid.evaluate.report.page_provenance import data_table, stages_table, teachers_table
from camelid.evaluate.report.page_tables import (
    quality_table,
    ratings_table,
    rewards_table,
    shape_table,
    sources_table,
)

Report = dict[str, Any]
NO_PICTURES: Mapping[str, Picture | None] = MappingProxyType({})


def write_report(report: Report, folder: Path) -> Path:
    """Write the page, its JSON twin and its figures into `folder`; returns the path of report.html.

    `report` is the dictionary of report.json. Only `versions` must be there, a list of which each entry has its name
    under 'version'; parts that are missing or None are named as such on the page. Figures of an earlier report in the
    same folder are replaced. Raises KeyError where an entry lacks its name.
    """
    pictures = [draw_pictures(run) for run in _runs(report)]
    if "runs" in report:
        pictures.append(draw_pictures(report))
    of_kinds = {kind.name: draw_kind(slug(kind.name), kind.rows) for kind in kinds(report) if not kind.folded}
    page = render_page(report, pictures, of_kinds)
    write_json(folder / "report.json", report)
    _write_figures(report, pictures, folder / "figures")
    for picture in filter(None, of_kinds.values()):
        (folder / "figures" / f"{picture.name}.png").write_bytes(picture.light)
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _runs(report: Report) -> list[Report]:
    """Each run's own report; a report of one run is that itself."""
    return report.get("runs") or [report]


def _write_figures(report: Report, pictures: Sequence[Sequence[Picture]], folder: Path) -> None:
    """The pictures as files; of several runs, each one's name begins with its run's."""
    folder.mkdir(parents=True, exist_ok=True)
    whose = [*(f"{slug(run['name'])}-" for run in report.get("runs") or []), ""]
    for before, drawn in zip(whose, pictures, strict=True):
        for picture in drawn:
            file = folder / f"{before}{picture.name}.png"
            if picture.light:
                file.write_bytes(picture.light)
            else:
                file.unlink(missing_ok=True)  # an older report's picture would pass for this one's


def render_page(
    report: Report, pictures: Sequence[Sequence[Picture]], of_kinds: Mapping[str, Picture | None] = NO_PICTURES
) -> str:
    """The page as text; `pictures` has those of each run, then, of several runs, those of all.

    `of_kinds` has those of kinds of results, by the kind's name.
    """
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
    examples = [page_example(example, names) for example in report.get("examples") or []]
    return environment.get_template("report.html.jinja").render(
        title=report.get("title") or "untitled run",
        notes=_notes(runs),
        runs=[_run(run, drawn) for run, drawn in zip(runs, pictures, strict=False)],
        pictures=pictures[-1] if "runs" in report else [],
        comparison=report.get("comparison") or {"notes": []},
        matrices=matrices(report),
        kinds=kinds(report),
        of_kinds=of_kinds,
        tables={
            "quality": quality_table(report),
            "shape": shape_table(report),
            "sources": sources_table(report),
            "rewards": rewards_table(report),
            "ratings": ratings_table(report),
            "data": data_table(report),
            "teachers": teachers_table(report),
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
        first_shown=first_shown(report),
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
        "pictures": pictures,
    }


def _notes(runs: Sequence[Report]) -> list[str]:
    """The warnings of all runs, each said once, with the names of its runs where it is not of all."""
    of_note: dict[str, list[str]] = {}
    for run in runs:
        for note in run.get("notes") or []:
            of_note.setdefault(note, []).append(run.get("name") or "")
    return [note if len(names) == len(runs) else f"{', '.join(names)}: {note}" for note, names in of_note.items()]


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


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
