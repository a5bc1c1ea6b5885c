"""Answers judged by a model behind a chat server: one system's answers rated, or two systems' compared in both orders.

Every way of asking is a file in `camelid.judges`. Every reply is on the disk before it is read: a killed run asks only
what is missing. Left out: several judges that vote. Imports no torch.

    camelid eval judge mine.json theirs.json --way alpaca-eval --set remote.base_url=http://localhost:8000/v1 \\
        --set remote.model=NAME --out runs/judged
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.durable import write_json
from camelid.evaluate.answer_cases import Cases, read_cases
from camelid.evaluate.judged_numbers import Numbers, sum_up
from camelid.evaluate.judged_reviews import write_reviews
from camelid.judges.asking import Journal, Names, ask_what_is_missing
from camelid.judges.case import Case, Judged, Order
from camelid.judges.cost import Count, actual_cost, estimate_tokens, expected_cost
from camelid.judges.way import Way
from camelid.judges.ways import way_named
from camelid.models.remote import RemoteSettings
from camelid.models.server_cost import ServerCost
from camelid.runs import Run, Settings
from camelid.types import Messages


class JudgedSettings(Settings):
    """Answers judged by a model."""

    way: str = ""
    """Way of asking: lima, lima-single, vicuna, mt-bench, mt-bench-single, alpaca-eval, alpaca-eval-weighted."""
    remote: RemoteSettings = RemoteSettings()
    """Where the judge is and how it is asked."""
    number: int = Field(default=0, ge=0)
    """Questions to judge, drawn with the seed; 0 takes all."""


def judge_answers(run: Run) -> dict[str, Any]:
    """Stage: `first`, perhaps `second`, `questions`, `references`, `prompt` -> replies.jsonl, results.json, reviews/.

    Replies that cannot be read are invalid: counted, and in no number.
    """
    s: JudgedSettings = run.settings
    way, found = what_to_ask(s, run.inputs)
    journal = Journal(run.path / "replies.jsonl")
    by_id = {case.id: case for case in found.cases}
    wanted: list[Names] = [{"case": case.id, "order": order} for case in found.cases for order in case.orders]

    def messages(names: Names) -> Messages:
        return way.messages(by_id[names["case"]], _order(names["order"]))

    with run.progress("replies", len(wanted), len(wanted) - len(journal.missing(wanted))) as tick:
        ask_what_is_missing(journal, _remote(s, way), wanted, messages, tick)
    judged = read_replies(way, found.cases, journal)
    numbers: Numbers = {"way": way.name, "judge": s.remote.model} | sum_up(judged, found.models)
    numbers |= _warnings(way, found, journal)
    numbers["cost"] = asdict(actual_cost(journal.rows))
    write_json(run.path / "results.json", numbers)
    write_json(run.path / "judgements.json", [_judgement(j) for j in judged])
    if way.name == "vicuna":
        write_reviews(run.path / "reviews", judged, journal, found.models)
    return numbers


def what_to_ask(s: JudgedSettings, inputs: Mapping[str, Path]) -> tuple[Way, Cases]:
    """The way of asking, with the user's own prompt if there is one, and the cases. Raises ValueError."""
    # Every question is made once before the first is asked: what does not fit must not show after half the cost.
    way = way_named(s.way).with_prompt(inputs.get("prompt"))
    found = read_cases(way, inputs, number=s.number, seed=s.seed)
    for case in found.cases:
        way.messages(case, "given")
    return way, found


def cost_before(s: JudgedSettings, inputs: Mapping[str, Path], count: Count = estimate_tokens) -> ServerCost:
    """What a run will cost. Asks nothing."""
    way, found = what_to_ask(s, inputs)
    asked = (way.messages(case, order) for case in found.cases for order in case.orders)
    return expected_cost(asked, _remote(s, way), count)


def read_replies(way: Way, cases: Sequence[Case], journal: Journal) -> list[Judged]:
    """What the newest reply to each case and order says."""
    replies = {(row["case"], row["order"]): row for row in journal.rows}

    def said(case: Case, order: Order) -> Any:
        row = replies[case.id, order]
        return None if row["rejected"] else way.said(row["text"], row["first_token"], order)

    return [Judged(case, tuple(said(case, order) for order in case.orders)) for case in cases]


def _remote(s: JudgedSettings, way: Way) -> RemoteSettings:
    """The user's settings over what the way asks for."""
    return s.remote.model_copy(update={"extra": {**way.body, **s.remote.extra}})


def _order(name: str) -> Order:
    return "given" if name == "given" else "swapped"


def _warnings(way: Way, found: Cases, journal: Journal) -> Numbers:
    """Counts of what makes a way weaker than it is meant to be."""
    numbers: Numbers = {}
    if way.wants_reference:
        numbers["without_reference"] = sum(
            case.category in way.wants_reference and not case.reference for case in found.cases
        )
    if "logprobs" in way.body:
        numbers["replies_without_logprobs"] = sum(
            row["first_token"] is None and not row["rejected"] for row in journal.rows
        )
    return numbers


def _judgement(judged: Judged) -> dict[str, Any]:
    return {
        "case": judged.case.id,
        "category": judged.case.category,
        "preference": judged.preference,
        "scores": judged.scores,
        "said": [said and said._asdict() for said in judged.said],
    }
