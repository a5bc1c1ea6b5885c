"""Answers to a page's questions, each a JSON object; keeps what was read of the files between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from camelid.serve.watch import samples
from camelid.serve.watch.curves import Curves
from camelid.serve.watch.groups import SHOWN
from camelid.serve.watch.guards import Guards
from camelid.serve.watch.runs import Watched, inside
from camelid.serve.watch.states import States

MOST_BUCKETS = 1200
SAMPLES_A_PAGE = 24


class AskedWrongly(ValueError):
    """A question about nothing that is watched, or one that cannot be read."""


class View:
    """What is watched, for any number of pages at once."""

    def __init__(self, watched: Sequence[Watched]):
        self.watched = watched
        self._states = [States(run) for run in watched]
        self._curves: dict[Path, Curves] = {}
        self._guards: dict[Path, Guards] = {}
        self._lock = threading.Lock()

    def answer(self, question: str, given: Mapping[str, str]) -> dict[str, Any]:
        """The answer to `state`, `curves`, `samples` or `guards`. Raises AskedWrongly."""
        questions: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
            "state": self._state,
            "curves": self._curves_of,
            "samples": self._samples_of,
            "guards": self._guards_of,
        }
        if question not in questions:
            raise AskedWrongly(f"no question {question!r}")
        with self._lock:
            return questions[question](given)

    def _state(self, given: Mapping[str, str]) -> dict[str, Any]:
        runs = [states.all() for states in self._states]
        for number, run in enumerate(runs):
            for stage in run["stages"]:
                if stage.get("guards") and (file := self._file(number, stage["name"], "guards.jsonl")):
                    stage["tripped"] = self._read_guards(file)["tripped"]
        return {"now": time.time(), "groups": SHOWN, "runs": runs}

    def _curves_of(self, given: Mapping[str, str]) -> dict[str, Any]:
        file = self._asked_file(given, "metrics.jsonl")
        most = min(_whole(given, "most", 400), MOST_BUCKETS)
        if most < 2:
            raise AskedWrongly("most: give 2 or more")
        curves = self._curves.setdefault(file, Curves(file))
        return curves.since(given.get("since", ""), most)

    def _samples_of(self, given: Mapping[str, str]) -> dict[str, Any]:
        file = self._asked_file(given, "samples.jsonl")
        before = _whole(given, "before", 0) if "before" in given else None
        return samples.newest(file, before, SAMPLES_A_PAGE)

    def _guards_of(self, given: Mapping[str, str]) -> dict[str, Any]:
        return self._read_guards(self._asked_file(given, "guards.jsonl"))

    def _read_guards(self, file: Path) -> dict[str, Any]:
        return self._guards.setdefault(file, Guards(file)).shown()

    def _asked_file(self, given: Mapping[str, str], name: str) -> Path:
        file = self._file(_whole(given, "run", 0), given.get("stage", ""), name)
        if file is None:
            raise AskedWrongly("no such stage, or it has not begun")
        return file

    def _file(self, run: int, stage: str, name: str) -> Path | None:
        """A stage's file: the stage by its name among those that are there, never a path out of a question."""
        if run >= len(self.watched):
            return None
        folder = self.watched[run].stages().get(stage)
        root = self.watched[run].root
        return inside(root, str((folder / name).relative_to(root))) if folder else None


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise AskedWrongly(f"{name}: a whole number is wanted")
    return int(text)
