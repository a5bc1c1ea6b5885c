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
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from camelid.durable import write_json
from camelid.evaluate.report.figure_style import DARK, LIGHT, version_colours
from camelid.evaluate.report.figures import Picture, draw_pictures
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
    pictures = draw_pictures(report)
    page = render_page(report, pictures)
    write_json(folder / "report.json", report)
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        file = figures / f"{picture.name}.png"
        if picture.light:
            file.write_bytes(picture.light)
        else:
            file.unlink(missing_ok=True)  # an older report's picture would pass for this one's
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def render_page(report: Report, pictures: Sequence[Picture]) -> str:
    """The page as text."""
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
    return environment.get_template("report.html.jinja").render(
        title=report.get("title") or "untitled run",
        facts=_facts(report),
        path=" → ".join(names),
        headline_version=(report.get("headline") or {}).get("version"),
        headlines=headlines(report),
        notes=report.get("notes") or [],
        pictures=pictures,
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
        colours=list(zip(version_colours(len(names), LIGHT), version_colours(len(names), DARK), strict=True)),
        examples=[_example(example, names) for example in report.get("examples") or []],
        first_shown=_first_shown(names, (report.get("headline") or {}).get("version")),
        script=Markup(script),  # ours, from the package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


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


def _first_shown(names: Sequence[str], headline: str | None) -> list[bool]:
    """Which versions' answers are open at first where there are many: the first two and the headline's, or the last.

    The page's script closes the others; without it all are shown.
    """
    if len(names) <= 4:
        return [True] * len(names)
    last = headline if headline in names else names[-1]
    return [place < 2 or name == last for place, name in zip(itertools.count(), names)]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
