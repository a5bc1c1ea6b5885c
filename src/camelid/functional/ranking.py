"""A reward model's losses: pairs with LLaMA-2's margins, InstructGPT's rankings of K, the safe-or-unsafe term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MARGINS: dict[str, dict[str, float]] = {
    "none": {"significantly better": 0.0, "better": 0.0, "slightly better": 0.0, "negligibly better": 0.0},
    "small": {"significantly better": 1.0, "better": 2 / 3, "slightly better": 1 / 3, "negligibly better": 0.0},
    "large": {"significantly better": 3.0, "better": 2.0, "slightly better": 1.0, "negligibly better": 0.0},
}
"""Margin in units of the score, by table and rating (Touvron et al. 2023, arXiv:2307.09288, appendix A.3.3)."""


def margin_of(rating: str | None, table: str) -> float:
    """Margin that a rating asks for; 0 for None, where the source of the pair states no rating.

    Raises ValueError for a rating or a table that does not exist, with the names that do.
    """
    if table not in MARGINS:
        raise ValueError(f"no margin table {table!r}; there are {', '.join(MARGINS)}")
    if rating is None:
        return 0.0
    if rating not in MARGINS[table]:
        raise ValueError(f"no rating {rating!r}; there are {', '.join(MARGINS[table])}")
    return MARGINS[table][rating]


def ranking_loss(chosen: Tensor, rejected: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    """Pairwise ranking loss with a margin (Touvron et al. 2023, arXiv:2307.09288, section 3.2.2, eq. 2).

        L = - sum_b log sigmoid(c_b - r_b - m_b)

    With margins of 0 it is the loss of Ouyang et al. 2022 (arXiv:2203.02155, eq. 1) for one pair a prompt.
    `chosen`, `rejected`: (B,) float32, scores before the sigmoid. `margins`: (B,) float32, the units of the scores.
    Returns the sum and the number of pairs; the caller divides once per optimizer step.
    """
    if not chosen.shape == rejected.shape == margins.shape:
        shapes = tuple(chosen.shape), tuple(rejected.shape), tuple(margins.shape)
        raise ValueError(f"chosen, rejected and margins have shapes {shapes}; they must be equal")
    return -F.logsigmoid(chosen - rejected - margins).sum(), torch.tensor(chosen.numel(), device=chosen.device)


def kwise_ranking_loss(
    scores: Tensor, better: Tensor, worse: Tensor, margins: Tensor, prompts: Tensor
) -> tuple[Tensor, Tensor]:
    """Ranking loss of K completions a prompt, all their pairs together (Ouyang et al. 2022, arXiv:2203.02155, eq. 1).

        L = - sum_q 1 / P_q sum_p log sigmoid(s_better(p) - s_worse(p) - m_p),     P_q: pairs of prompt q

    With no tie P_q is the paper's C(K, 2). Departure: tied pairs are left out of the count too, so that every prompt
    weighs the same. With a pair a prompt it is `ranking_loss`, to the bit.
    `scores`: (R,) float32, before the sigmoid. `better`, `worse`: (P,) int64, places in `scores`. `margins`: (P,), the
    units of the scores. `prompts`: (P,) int64, the prompt of each pair, counted from 0.
    Returns the sum and the number of prompts; the caller divides once per optimizer step.
    """
    if not better.shape == worse.shape == margins.shape == prompts.shape:
        shapes = [tuple(x.shape) for x in (better, worse, margins, prompts)]
        raise ValueError(f"better, worse, margins and prompts have shapes {shapes}; they must be equal")
    number = prompts.bincount()
    losses = -F.logsigmoid(scores[better] - scores[worse] - margins)
    return (losses / number[prompts]).sum(), (number > 0).sum()


def safety_loss(scores: Tensor, safe: Tensor, known: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of "this completion is safe", the score being its logit.

        L = - sum_q 1 / N_q sum_i [ y_i log sigmoid(s_i) + (1 - y_i) log sigmoid(-s_i) ],    N_q: labelled ones of q

    LLaMA-2 trains its safety reward model to tell safe from unsafe beside ranking, and prints no formula for it
    (arXiv:2307.09288, section 3.2.2); this is the natural reading. It stands on the ranking score and on no second
    head: the paper sets thresholds on that score (0.5 where it measures recall, 0.15 in the gate of section 3.2.3).
    `scores`: (R,) float32. `safe`: (R,) bool, read where `known` (R,) bool is True. `prompts`: (R,) int64, from 0.
    Returns the sum and the number of prompts with a label; a prompt weighs the same however many of its completions
    are labelled.
    """
    if not scores.shape == safe.shape == known.shape == prompts.shape:
        shapes = [tuple(x.shape) for x in (scores, safe, known, prompts)]
        raise ValueError(f"scores, safe, known and prompts have shapes {shapes}; they must be equal")
    mine = prompts[known]
    number = mine.bincount()
    losses = F.binary_cross_entropy_with_logits(scores[known], safe[known].to(scores.dtype), reduction="none")
    return (losses / number[mine]).sum(), (number > 0).sum()
