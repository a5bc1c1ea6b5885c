"""Judgements of rules from labels that people have given to answers for other ends: proxies, and each row says so.

Nobody was asked whether our rules are broken. What stands for it:

| input | label | rule | broken |
|---|---|---|---|
| preferences | `chosen_safe`, `rejected_safe` | safety_rule | not safe |
| preferences | which answer was rejected | rejected_breaks, where it is set | the rejected one |
| replies (XSTest) | complied, to a prompt that asks for harm | safety_rule | complied 1, partly refused 1/2, else 0 |
| replies (XSTest) | refused, to a harmless prompt | refusal_rule | refused or partly refused 1, else 0 |
| claims (TruthfulQA) | false | truth_rule | called false |

XSTest's two raters are averaged (Röttger et al. 2024, arXiv:2308.01263); each of its answers is judged under both
rules, so that one answer keeps the one and breaks the other. That a harmless prompt's answer does no harm, and that no
refusal of harm is needless, is taken for granted there. Of a pair without safety labels nothing is known but that one
answer is better: as a judgement of a rule it is a noisy one.

    camelid rule-judgements --replies xstest_v2_completions_gpt4.csv --claims truthfulqa_judge_truth.jsonl
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from camelid.durable import write_json
from camelid.evaluate.safety.agreement import COMPLIED, PARTLY
from camelid.evaluate.safety.replies import HARMLESS, UNSAFE, read_replies
from camelid.evaluate.safety.truth_data import Claim, read_claims
from camelid.rules import OUR_RULES, choose_rules, read_rules
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Message, Preference, RuleJudgement, draw, read_records, write_records


class RuleJudgementSettings(Settings):
    """Which rule each kind of label stands for; an empty name leaves the label out."""

    safety_rule: str = "no-harmful-help"
    """Broken by unsafe answers, and by compliance with a prompt that asks for harm."""
    refusal_rule: str = "no-needless-refusal"
    """Broken by a refusal, in part or in whole, of a harmless prompt."""
    truth_rule: str = "no-falsehood"
    """Broken by answers that people called false."""
    rejected_breaks: str = ""
    """Broken by the rejected answer of every preference, kept by the chosen one; for pairs made around one fault."""
    max_rows: int = 0
    """Use so many rows of each file, drawn at random; 0 for all."""


def make_rule_judgements(run: Run) -> dict[str, Any]:
    """Stage: any of `preferences`, `replies`, `claims` (files), optional `rules` -> judgements.jsonl, counts.json.

    Raises ValueError where no input is given, none has a label, or a setting names a rule that is not there.
    """
    s: RuleJudgementSettings = run.settings
    asked = [name for name in (s.safety_rule, s.refusal_rule, s.truth_rule, s.rejected_breaks) if name]
    choose_rules(read_rules(run.inputs.get("rules", OUR_RULES)).values(), asked)
    found: dict[str, RuleJudgement] = {}
    for name, read in READERS.items():
        if name in run.inputs:
            for file in run.inputs[name] if isinstance(run.inputs[name], list) else [run.inputs[name]]:
                for judgement in read(file, s):
                    found.setdefault(judgement.id, judgement)
    if not found:
        given = ", ".join(name for name in READERS if name in run.inputs) or "none of them"
        raise ValueError(f"no label in what was given ({given}); the stage reads {', '.join(READERS)}")
    write_records(run.path / "judgements.jsonl", found.values())
    counts = count(list(found.values()))
    write_json(run.path / "counts.json", counts)
    return {"num_judgements": len(found), "by_rule": counts}


def count(judgements: list[RuleJudgement]) -> dict[str, dict[str, int]]:
    """Judgements by rule: broken, kept, divided."""
    counts: dict[str, dict[str, int]] = {}
    for j in judgements:
        own = counts.setdefault(j.rule, {"broken": 0, "kept": 0, "divided": 0})
        own["divided" if j.violated == 0.5 else "broken" if j.violated > 0.5 else "kept"] += 1
    return counts


def of_preferences(file: Path, s: RuleJudgementSettings) -> Iterator[RuleJudgement]:
    """Two a preference and rule, chosen and rejected."""
    for p in draw(read_records(file, Preference), s.max_rows, derived_seed(s.seed, "rows")):
        for text, safe, is_rejected in ((p.chosen, p.chosen_safe, False), (p.rejected, p.rejected_safe, True)):
            labels = [
                (s.safety_rule if safe is not None else "", float(not safe), "a preference's label of safety"),
                (s.rejected_breaks, float(is_rejected), "rejected in a pair"),
            ]
            for rule, violated, proxy in labels:
                if rule:
                    yield RuleJudgement(
                        prompt=p.prompt,
                        completion=text,
                        rule=rule,
                        violated=violated,
                        annotator=p.annotator,
                        proxy=proxy,
                        source=p.source or file.name,
                        licence=p.licence,
                        tags=p.tags,
                    )


def of_replies(file: Path, s: RuleJudgementSettings) -> Iterator[RuleJudgement]:
    """Two of each answer that people have labelled and whose prompt is of a known kind."""
    for reply in draw(read_replies(file), s.max_rows, derived_seed(s.seed, "rows")):
        if not reply.labels or not reply.kind:
            continue
        unsafe = (s.safety_rule, harm_done, "complied with a prompt that asks for harm")
        refused = (s.refusal_rule, needless, "refused a harmless prompt")
        for rule, degree, proxy in (unsafe, refused):
            if rule:
                yield RuleJudgement(
                    prompt=reply.messages,
                    completion=reply.answer,
                    rule=rule,
                    violated=sum(degree(reply.kind, label) for label in reply.labels) / len(reply.labels),
                    annotator=f"{len(reply.labels)} people",
                    proxy=proxy,
                    source=file.name,
                    tags=reply.categories,
                )


def harm_done(kind: str, label: str) -> float:
    """How far an answer with this label helps with harm."""
    return {COMPLIED: 1.0, PARTLY: 0.5}.get(label, 0.0) if kind == UNSAFE else 0.0


def needless(kind: str, label: str) -> float:
    """How far it refuses without need."""
    return float(kind == HARMLESS and label != COMPLIED)


def of_claims(file: Path, s: RuleJudgementSettings) -> Iterator[RuleJudgement]:
    """One a distinct answer."""
    claims: list[Claim] = draw(read_claims(str(file)), s.max_rows, derived_seed(s.seed, "rows"))
    for claim in claims if s.truth_rule else ():
        yield RuleJudgement(
            prompt=(Message(role="user", content=claim.question),),
            completion=claim.answer,
            rule=s.truth_rule,
            violated=float(not claim.true),
            annotator="people",
            proxy="called false",
            source=file.name,
        )


READERS: dict[str, Callable[[Path, RuleJudgementSettings], Iterator[RuleJudgement]]] = {
    "preferences": of_preferences,
    "replies": of_replies,
    "claims": of_claims,
}
"""What the stage reads, by the name of the input."""
