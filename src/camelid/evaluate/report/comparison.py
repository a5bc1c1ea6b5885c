"""Which versions may be compared, and how each fares against each other, recomputed from their answers.

Two versions are comparable where they answered exactly the same prompts; their judge's scores and win rates, where the
same judge scored them too. Win rates between any two such versions come from the scores beside the answers, so two runs
meet here that never knew of each other. What was sampled otherwise (cut later, drawn hotter) is said, not forbidden.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from camelid.evaluate.outcomes import outcome
from camelid.evaluate.report.conversations import Answered
from camelid.functional.statistics import win_rate

MOST_VERSIONS = 16
"""Versions of a group that are set against each other; of more, the first and last of each run, then the newest."""
SAMPLING = {"max_new_tokens": "cut after {} tokens", "temperature": "drawn at temperature {}"}


def comparison(versions: Sequence[Answered]) -> dict[str, Any] | None:
    """Groups of comparable versions, each with its win rates, and what is not comparable; None without answers."""
    answered = [version for version in versions if version.answers]
    if not answered:
        return None
    groups = []
    by_prompts = [found for _, found in _grouped(answered, lambda v: v.prompts)]
    for same in by_prompts:
        for judge, judged in _grouped(same, _judge):
            groups.append(
                {
                    "versions": [v.label for v in judged],
                    "n": len(judged[0].answers),
                    "prompts": judged[0].prompts[:8],
                    "judge": judge[:8],
                    "win_rates": win_rates(judged) if judge and len(judged) > 1 else [],
                }
            )
    return {"groups": groups, "notes": _notes(versions, by_prompts)}


def win_rates(versions: Sequence[Answered]) -> list[dict[str, Any]]:
    """Win rate of every version over every other by the judge's scores; {version, over, win_rate}.

    A gap of at most `tie_within` of the first one's settings is a tie. Each pair is computed once: the other direction
    is one less the same numbers.
    """
    rows = []
    for first, second in itertools.combinations(_few(versions), 2):
        tie_within = float(first.manifest["settings"].get("tie_within", 0.0))
        gaps = [a["judge_score"] - second.answers[digest]["judge_score"] for digest, a in first.answers.items()]
        rate = win_rate([outcome(gap, tie_within) for gap in gaps])._asdict()
        turned = rate | {"value": 1 - rate["value"], "low": 1 - rate["high"], "high": 1 - rate["low"]}
        rows.append({"version": first.label, "over": second.label, "win_rate": rate})
        rows.append({"version": second.label, "over": first.label, "win_rate": turned})
    return rows


def _judge(version: Answered) -> str:
    """Digest of the judge whose scores stand beside the answers; empty where not all are scored, or nobody knows."""
    if any(not isinstance(answer.get("judge_score"), int | float) for answer in version.answers.values()):
        return ""
    judge = (version.manifest["inputs"].get("judge") or {}).get("sha256", "")
    return f"{judge} {version.manifest['settings'].get('tie_within', '')}" if judge else ""


def _few(versions: Sequence[Answered]) -> list[Answered]:
    """At most `MOST_VERSIONS` of them, in order."""
    runs = [found for _, found in _grouped(versions, lambda v: v.run)]
    ends = [version.label for found in runs for version in (found[-1], found[0])]
    wanted = dict.fromkeys([*ends, *(version.label for version in reversed(versions))])
    chosen = list(wanted)[:MOST_VERSIONS]
    return [version for version in versions if version.label in chosen]


def _grouped(versions: Sequence[Answered], key: Callable[[Answered], str]) -> list[tuple[str, list[Answered]]]:
    """Versions of equal key together, in order of appearance."""
    groups: dict[str, list[Answered]] = {}
    for version in versions:
        groups.setdefault(key(version), []).append(version)
    return list(groups.items())


def _notes(versions: Sequence[Answered], by_prompts: Sequence[Sequence[Answered]]) -> list[str]:
    """What may be compared with what, in words."""
    said = []
    if len(by_prompts) > 1:
        listed = "; ".join(f"{_names(same, versions)} ({len(same[0].answers)} prompts)" for same in by_prompts)
        said.append(f"Not comparable, they answered different prompts: {listed}. Compare only within a group.")
    for same in by_prompts:
        judges = _grouped(same, _judge)
        if len(judges) > 1:
            listed = "; ".join(
                f"{_names(judged, versions)} ({f'judge {judge[:8]}' if judge else 'not judged'})"
                for judge, judged in judges
            )
            said.append(
                f"Judge's scores and win rates are not comparable between judges: {listed}. Refusals are: all of these "
                f"answered the same prompts."
            )
        said += [
            f"Of {len(judged)} comparable versions {MOST_VERSIONS} are set against each other: "
            f"first and last of each run, then the newest."
            for _, judged in judges
            if len(judged) > MOST_VERSIONS
        ]
        said += _sampled_otherwise(same, versions)
    without = [version for version in versions if not version.answers]
    if without:
        said.append(f"Not comparable, no answers were kept: {_names(without, versions)}.")
    return said


def _sampled_otherwise(same: Sequence[Answered], versions: Sequence[Answered]) -> list[str]:
    """A sentence for each way in which answers to the same prompts were sampled differently."""
    said = []
    for setting, words in SAMPLING.items():
        values = _grouped(same, partial(_sampling, setting))
        if len(values) > 1:
            listed = "; ".join(f"{_names(found, versions)} {words.format(value)}" for value, found in values)
            said.append(f"Same prompts, sampled otherwise: {listed}.")
    return said


def _sampling(setting: str, version: Answered) -> str:
    return str((version.manifest["settings"].get("sampling") or {}).get(setting, "(not recorded)"))


def _names(named: Sequence[Answered], versions: Sequence[Answered]) -> str:
    """Their labels, a run whose versions are all among them as one."""
    said = []
    for run, found in _grouped(named, lambda v: v.run):
        whole = len(found) == sum(v.run == run for v in versions)
        said.append(f"all {len(found)} of {run}" if whole and len(found) > 1 else ", ".join(v.label for v in found))
    return ", ".join(said)
