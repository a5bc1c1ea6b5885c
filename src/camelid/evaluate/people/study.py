"""What came back from the raters: checked, un-blinded, and kept as preferences.

    study = read_study(["study"])
    write_records("preferences.jsonl", preferences(study))

What it says of the two models: study_figures.py.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.evaluate.people.rows import Row, columns, read_rows
from camelid.evaluate.people.sheets import Key, read_key
from camelid.evaluate.people.swap import Verdict
from camelid.types import Preference, Rating

DEGREES: dict[int, Rating] = {1: "slightly better", 2: "better", 3: "significantly better"}
"""Steps from the middle of the scale, as LLaMA-2's ratings of preferences."""
MIDDLE = 4
PROBLEMS = ("blank", "out_of_scale", "unknown_item", "unknown_rater", "contradicted")


@dataclass(frozen=True)
class Study:
    """Verdicts by item and rater, un-blinded: -3 to 3, above 0 where the first model's answer is better."""

    folder: Path
    """Where its key is."""
    key: Key
    steps: dict[tuple[str, str], int]
    problems: dict[str, int]
    """Rows of the sheets that say nothing, by what is wrong with them."""
    first_problems: dict[str, str]
    """Where each kind of problem was met first."""


def read_study(places: Sequence[str | os.PathLike[str]], key: str | os.PathLike[str] = "") -> Study:
    """Sheets of a study: its folder, or filled files with their key. Raises ValueError where none holds a verdict."""
    files, key_file = _files([Path(place) for place in places], Path(key) if key else None)
    found = read_key(key_file)
    steps: dict[tuple[str, str], int] = {}
    contradicted: set[tuple[str, str]] = set()
    problems: Counter[str] = Counter()
    first: dict[str, str] = {}
    for path in files:
        rows = read_rows(path)
        lacking = {"item", "rater", "verdict"} - set(columns(rows))
        if lacking:
            raise ValueError(f"{path}: no column {sorted(lacking)[0]!r}; a sheet has item, rater and verdict")
        for row in rows:
            place, problem = _check(found, row)
            if problem is None:
                step = _unblind(found, place, int(float(row.values["verdict"])))
                if steps.setdefault(place, step) == step:
                    continue
                contradicted.add(place)
                problem = "contradicted"
            problems[problem] += 1
            first.setdefault(problem, f"{path.name}, row {row.number}")
    steps = {place: step for place, step in steps.items() if place not in contradicted}
    if not steps:
        raise ValueError(f"{', '.join(str(path) for path in files[:3])}: no verdict is filled in, a number from 1 to 7")
    return Study(key_file.parent, found, steps, {name: problems[name] for name in PROBLEMS}, first)


def preferences(study: Study) -> list[Preference]:
    """One record a verdict that is no tie, with the rater's pseudonym; what `camelid reward` trains on.

    Pairs with an empty answer are left out: they are judged, but teach nothing.
    """
    records = []
    for (item, rater), step in study.steps.items():
        a, b = study.key.texts(item)
        pair = study.key.pairs[item]
        if step and a and b:
            records.append(
                Preference(
                    prompt=pair.prompt,
                    chosen=a if step > 0 else b,
                    rejected=b if step > 0 else a,
                    rating=DEGREES[abs(step)],
                    kind=study.key.kind,
                    annotator=rater,
                    source=pair.source,
                    licence=pair.licence,
                    tags=pair.tags,
                )
            )
    return records


def verdict_rows(study: Study) -> list[dict[str, Any]]:
    """A row a comparison with its id and what each rater says of its sides, ties too; for `eval judge-vs-people`."""
    rows = []
    for item, pair in study.key.pairs.items():
        sign = 1 if pair.first_model == study.key.a else -1
        given = {rater: study.steps.get((item, rater)) for rater in study.key.raters}
        rows.append({"id": pair.id} | {rater: None if s is None else side(sign * s) for rater, s in given.items()})
    return rows


def side(step: int) -> Verdict:
    """Which answer is better by so many steps."""
    return "tie" if step == 0 else "first" if step > 0 else "second"


def _files(places: list[Path], key: Path | None) -> tuple[list[Path], Path]:
    for place in places:
        if not place.exists():
            raise ValueError(f"{place}: no such file or folder")
    files = [file for place in places for file in (_sheets(place) if place.is_dir() else [place])]
    if not files:
        raise ValueError(f"{places[0]}: no sheets; there is no raters/*.csv or *.jsonl in it")
    near = [folder / "key.json" for place in places for folder in (place, place.parent, place.parent.parent)]
    found = key or next((candidate for candidate in near if candidate.is_file()), None)
    if found is None:
        raise ValueError(f"no key.json near {places[0]}; name the study's with --key")
    return files, found


def _sheets(folder: Path) -> list[Path]:
    inside = folder / "raters" if (folder / "raters").is_dir() else folder
    return sorted(
        p
        for p in inside.iterdir()
        if p.suffix.lower() in (".csv", ".jsonl") and p.stem not in ("preferences", "verdicts")
    )


def _check(key: Key, row: Row) -> tuple[tuple[str, str], str | None]:
    """(item, rater) of a row of a sheet, and what is wrong with it."""
    place = str(row.values.get("item") or "").strip(), str(row.values.get("rater") or "").strip()
    verdict = str("" if row.values.get("verdict") is None else row.values["verdict"]).strip()
    if place[0] not in key.pairs:
        return place, "unknown_item"
    if place[1] not in key.raters:
        return place, "unknown_rater"
    if not verdict:
        return place, "blank"
    return place, None if verdict.removesuffix(".0") in {str(n) for n in range(1, 8)} else "out_of_scale"


def _unblind(key: Key, place: tuple[str, str], verdict: int) -> int:
    step = MIDDLE - verdict
    return step if key.shows_a_first(*place) else -step
