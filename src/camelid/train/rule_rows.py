"""What a rule model trains on and is measured by: parts by prompt, few examples of a rule, rows, AUC beside floors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from camelid.functional.auc import Group, mean_auc, mean_auc_difference
from camelid.functional.statistics import Estimate
from camelid.functional.text_classifier import fit_text_classifier
from camelid.models.batch import Row
from camelid.models.chat import ChatFormatError
from camelid.models.rule_model import RuleModel, rule_ids
from camelid.models.too_long import Lengths, cut_completions
from camelid.runs import derived_seed
from camelid.train.common import split
from camelid.types import Messages, Rule, RuleJudgement, as_text, draw, prompt_name

Part = Literal["all", "first", "second"]


class Parts(NamedTuple):
    """Judgements that train and those that measure; no prompt stands in both."""

    train: list[RuleJudgement]
    held_out: list[RuleJudgement]


def in_part(judgement: RuleJudgement, part: Part) -> bool:
    """Whether a judgement belongs to a half of all prompts. By the prompt's content alone, so it is so in every run."""
    return part == "all" or (int(prompt_name(judgement.prompt), 16) % 2 == 0) == (part == "first")


def split_by_prompt(judgements: Sequence[RuleJudgement], held_out: int, seed: int) -> Parts:
    """All judgements of `held_out` prompts are kept from training."""
    names = list(dict.fromkeys(prompt_name(j.prompt) for j in judgements))
    _, kept = split(names, held_out, seed)
    aside = set(kept)
    return Parts(
        [j for j in judgements if prompt_name(j.prompt) not in aside],
        [j for j in judgements if prompt_name(j.prompt) in aside],
    )


def few_examples(
    judgements: Sequence[RuleJudgement], number: int | None, rules: Sequence[str], seed: int
) -> list[RuleJudgement]:
    """At most `number` judgements of each of the `rules` (none named: of every one), all of the others; None for all.

    Drawn at random, so that a larger number holds a smaller one's.
    """
    if number is None:
        return list(judgements)
    kept: list[RuleJudgement] = []
    for rule in dict.fromkeys(j.rule for j in judgements):
        own = [j for j in judgements if j.rule == rule]
        if rules and rule not in rules:
            kept += own
        elif number:
            kept += draw(own, number, derived_seed(seed, "examples", rule))
    order = {id(j): i for i, j in enumerate(judgements)}
    return sorted(kept, key=lambda j: order[id(j)])


def judged_rows(
    model: RuleModel, judgements: Sequence[RuleJudgement], rules: dict[str, Rule], lengths: Lengths
) -> list[tuple[RuleJudgement, Row]]:
    """Judgements with what is read of them, without those that `lengths` sets aside.

    Too long is what is so with its rule, also where the rule is not read: both kinds of model get the same judgements.
    """
    found = []
    for judgement in judgements:
        rule = rules[judgement.rule]

        def rows(prompt: Messages, max_tokens: int | None, j: RuleJudgement = judgement, r: Rule = rule) -> list[Row]:
            return [model.row(prompt, j.completion, r, max_tokens)]

        name, limit = f"judgement {judgement.id} ({judgement.source})", lengths.limit.tokens
        try:
            tokens = len(rule_ids(model.reward.chat, judgement.prompt, judgement.completion or " ", rule))
        except ChatFormatError as error:
            raise ChatFormatError(f"{name}: {error}") from error
        if tokens <= limit:
            found.append((judgement, rows(judgement.prompt, None)[0]))
        elif made := lengths.too_long(name, tokens, partial(cut_completions, judgement.prompt, rows, limit)):
            found.append((judgement, made[1][0]))
    return found


def broken(judgement: RuleJudgement) -> bool | None:
    """The label of a judgement; None where the raters are divided in halves."""
    return None if judgement.violated == 0.5 else judgement.violated > 0.5


def area_beside_floors(
    scores: Sequence[float], train: Sequence[RuleJudgement], held_out: Sequence[RuleJudgement]
) -> dict[str, Any]:
    """AUC of the held-out judgements by rule and in the mean, beside TF-IDF fitted on the training part.

    `tfidf`: a classifier a rule. `tfidf_general`: one for all, which does not know the rule. A floor is None where its
    training part cannot be learnt from, an area where the held-out part lacks one of the two kinds.
    """
    by_rule: dict[str, Any] = {}
    kept: dict[str, list[Group]] = {"auc": [], "tfidf": [], "tfidf_general": []}
    general = _floor(train)
    for rule in dict.fromkeys(j.rule for j in held_out):
        at = [i for i, j in enumerate(held_out) if j.rule == rule and broken(j) is not None]
        own = [held_out[i] for i in at]
        texts = [_text(j) for j in own]
        floor = _floor([j for j in train if j.rule == rule])
        said = {"auc": [scores[i] for i in at]}
        said |= {name: f(texts) for name, f in (("tfidf", floor), ("tfidf_general", general)) if f and texts}
        groups = {name: _group(own, values) for name, values in said.items()}
        areas = {name: mean_auc([group]) for name, group in groups.items()}
        num_broken = sum(broken(j) is True for j in own)
        counts = {"n_broken": num_broken, "n_kept": len(own) - num_broken}
        counts["n_divided"] = sum(j.rule == rule for j in held_out) - len(own)
        counts["n_train"] = sum(j.rule == rule for j in train)
        by_rule[rule] = counts | {name: _said(areas.get(name)) for name in kept}
        if areas["auc"] is not None:
            for name in kept:
                kept[name] += [groups[name]] if name in groups else []
    means = {
        name: _said(mean_auc(groups)) if len(groups) == len(kept["auc"]) else None for name, groups in kept.items()
    }
    return {"mean_over_rules": means | {"num_rules": len(kept["auc"])}, "by_rule": by_rule}


def difference_beside(
    scores: Sequence[float], others: Sequence[float], held_out: Sequence[RuleJudgement]
) -> dict[str, Any]:
    """Mean AUC over rules less that of another classifier on the same judgements, and by rule."""
    pairs: list[tuple[str, Group, Group]] = []
    for rule in dict.fromkeys(j.rule for j in held_out):
        at = [i for i, j in enumerate(held_out) if j.rule == rule and broken(j) is not None]
        own = [held_out[i] for i in at]
        if 0 < sum(broken(j) is True for j in own) < len(own):
            pairs.append((rule, _group(own, [scores[i] for i in at]), _group(own, [others[i] for i in at])))
    mean = mean_auc_difference([mine for _, mine, _ in pairs], [theirs for _, _, theirs in pairs])
    by_rule = {rule: _said(mean_auc_difference([mine], [theirs])) for rule, mine, theirs in pairs}
    return {"mean_over_rules": _said(mean), "by_rule": by_rule}


def _group(judgements: Sequence[RuleJudgement], scores: Sequence[float]) -> Group:
    units = [prompt_name(j.prompt) for j in judgements]
    return Group(list(scores), [broken(j) is True for j in judgements], units)


def _said(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate._asdict() if estimate else None


def _text(judgement: RuleJudgement) -> str:
    return f"{as_text(judgement.prompt)}\n\n{judgement.completion}"


def _floor(judgements: Sequence[RuleJudgement]) -> Callable[[Sequence[str]], list[float]] | None:
    """TF-IDF's P(broken) of texts; None where both kinds or common words are lacking."""
    rows = [(j, label) for j in judgements if (label := broken(j)) is not None]
    try:
        classifier = fit_text_classifier([_text(j) for j, _ in rows], [label for _, label in rows])
    except ValueError:
        return None
    return lambda texts: classifier.probabilities(texts).tolist()
