"""Rules in plain language, as files: `rules.jsonl` of the starter set, or a file of one's own.

One rule a line: `{"id": "no-threats", "text": "Do not threaten anybody.", "topic": "harm"}`. A rule names what must not
be done, so that whoever is asked whether it is broken can say yes or no (Glaese et al. 2022, arXiv:2209.14375; the
wording of ours is our own). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from camelid.types import Rule, RuleJudgement, read_records

OUR_RULES = Path(__file__).parent / "starter" / "rules.jsonl"
"""What is read where no file of rules is given."""


def read_rules(path: Path = OUR_RULES) -> dict[str, Rule]:
    """Rules by id, in the file's order. Raises ValueError for none, for two of one id, and for two of one text."""
    rules: dict[str, Rule] = {}
    texts: dict[str, str] = {}
    for rule in read_records(path, Rule):
        if rule.id in rules:
            raise ValueError(f"{path}: two rules have the id {rule.id!r}; give each its own")
        same = texts.setdefault(" ".join(rule.text.lower().split()), rule.id)
        if same != rule.id:
            raise ValueError(f"{path}: rules {same!r} and {rule.id!r} say the same; drop one")
        rules[rule.id] = rule
    if not rules:
        raise ValueError(f"{path} holds no rule; write one a line, with id and text")
    return rules


def choose_rules(rules: Iterable[Rule], ids: Sequence[str]) -> list[Rule]:
    """Those of the `ids`, or all where none is named. Raises ValueError for an id that is not there."""
    known = {rule.id: rule for rule in rules}
    unknown = [id for id in ids if id not in known]
    if unknown:
        raise ValueError(f"no rule {unknown[0]!r}; there are {', '.join(known)}")
    return [known[id] for id in dict.fromkeys(ids)] if ids else list(known.values())


def read_judgements(files: Iterable[Path], rules: dict[str, Rule]) -> list[RuleJudgement]:
    """All judgements of the files, in order. Raises ValueError for none, and for one under a rule that is not there."""
    found: list[RuleJudgement] = []
    files = list(files)
    for file in files:
        for judgement in read_records(file, RuleJudgement):
            if judgement.rule not in rules:
                raise ValueError(
                    f"{file}: judgement {judgement.id} is about rule {judgement.rule!r}, which is none of the "
                    f"{len(rules)} rules: {', '.join(rules)}; give the file of its rules as `rules`"
                )
            found.append(judgement)
    if not found:
        raise ValueError(f"no judgement in {', '.join(map(str, files))}: nothing to learn from")
    return found
