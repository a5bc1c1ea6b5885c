"""Rankings of K completions of one prompt, as InstructGPT's labelers gave them (Ouyang et al. 2022, arXiv:2203.02155).

    {"prompt": ..., "completions": ["...", "...", "..."], "ranks": [2, 1, 2]}

The prompt is text or a list of messages. The smallest rank is the best, equal ones are ties. Rows with nothing but ties
say nothing and are set aside; they still give their prompt.
"""

from __future__ import annotations

from camelid.collect.drafts import Draft, Row, Unfit, text
from camelid.collect.formats import trl
from camelid.collect.formats.openai import dump


def is_ranked(row: Row) -> bool:
    return isinstance(row.get("completions"), list) and isinstance(row.get("ranks"), list)


def parse(row: Row) -> Draft:
    if not is_ranked(row):
        raise Unfit(f"no ranking: the row has {', '.join(row)}; a ranking has prompt, completions and ranks")
    completions = tuple(text(value, f"completion {place}") for place, value in enumerate(row["completions"], 1))
    ranks = row["ranks"]
    if len(ranks) != len(completions):
        raise Unfit(f"wrong number of ranks: {len(ranks)} for {len(completions)} completions; give one for each")
    odd = [rank for rank in ranks if isinstance(rank, bool) or not isinstance(rank, int)]
    if odd:
        raise Unfit(f"no rank: {odd[0]!r}; ranks are whole numbers, the smallest for the best")
    if not completions:
        raise Unfit("no completions: the list is empty; leave the row out")
    return Draft(trl.parse({"prompt": row.get("prompt")}).turns, completions=completions, ranks=tuple(ranks))


def render(draft: Draft) -> Row:
    if not draft.completions:
        raise Unfit("no ranking: only rankings have completions with ranks; write trl or camelid")
    return {"prompt": dump(draft.turns), "completions": list(draft.completions), "ranks": list(draft.ranks)}
