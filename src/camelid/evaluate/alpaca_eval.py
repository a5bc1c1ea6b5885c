"""What is known of AlpacaEval 2 before a judgement is read: for its length-controlled win rate, and for its orders.

AlpacaEval 2 compares a model with gpt4_1106_preview on 805 instructions; its judge gives graded preferences. The
published length-controlled win rate rests on a difficulty of each instruction, fitted on all models of the leaderboard
and kept on a data hub. Who has that file can give it (`read_difficulty`); else six constants stand in for it. The file's
own figure is then reproduced to 0.55 points on average and 1.9 at worst (45 models whose figures were used for no
constant). Text and data of AlpacaEval are not in here.

Where rows are missing from a file (803 of text_davinci_001's 805), the published fit pairs all rows behind the first
missing one with their neighbour's difficulty, so difficulty explains next to nothing there. As the figures stand as
published, `known_of` leaves the part that depends on the instruction out for such files.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camelid.evaluate.judgements import Judgement
from camelid.functional.length_control import Known

BASELINE, ANNOTATOR = "gpt4_1106_preview", "weighted_alpaca_eval_gpt4_turbo"
BASELINE_1 = "text_davinci_003"
"""AlpacaEval 1's. The length-controlled column of its table is predicted from the judgements of AlpacaEval 2."""
NUM_INSTRUCTIONS = 805

LENGTH_WEIGHT = (1.5, 0.375)
"""Mean and standard deviation of the length weights published for 197 models (alpaca_eval, length_controlled_v1,
baseline_gpt4_1106_preview.csv; the sign is turned, as our difference is ours less theirs)."""
DIFFICULTY_WEIGHT = (0.9, 0.18)
"""The same of the weights of instruction difficulty."""
SPREAD = 1.5
"""Standard deviation of instruction difficulty: with it the published weights give the published length-controlled win
rates of those 197 models (1.48 with a skewed shape of it, 1.59 with a normal one)."""
BY_LENGTH, SPREAD_BEYOND = -1.55, 1.4
"""Instructions that the baseline answers at length are harder to win: BY_LENGTH times sqrt(characters / 2000), and the
standard deviation of what remains. The factor is the one with which the published figures of alpaca-7b,
falcon-7b-instruct and vicuna-7b come out best; they are the only judgements in these constants."""


def is_alpaca_eval_2(judgements: Sequence[Judgement]) -> bool:
    """Whether the constants above hold: same baseline, same judge."""
    return all(j.first_model == BASELINE and j.annotator == ANNOTATOR for j in judgements)


def known_of(judgements: Sequence[Judgement], num_rows: int, difficulty: Sequence[float] | None) -> Known:
    """What `length_controlled_win_rate` may know of these judgements, all with both texts, of a file of `num_rows`."""
    if not is_alpaca_eval_2(judgements):
        return Known() if difficulty is None else Known(difficulty=difficulty)
    if difficulty is not None:
        return Known(LENGTH_WEIGHT, difficulty, DIFFICULTY_WEIGHT)
    if num_rows < NUM_INSTRUCTIONS:
        return Known(LENGTH_WEIGHT, spread=SPREAD)
    lengths = np.array([len(j.first_text or "") for j in judgements])
    return Known(LENGTH_WEIGHT, BY_LENGTH * np.sqrt(lengths / 2000), (1.0, DIFFICULTY_WEIGHT[1]), SPREAD_BEYOND)


def notes_on(judgements: Sequence[Judgement], num_rows: int, *, difficulty_given: bool) -> tuple[str, ...]:
    """What a reader of the length-controlled win rate of an AlpacaEval file has to know."""
    if is_alpaca_eval_2(judgements):
        if difficulty_given:
            return ()
        if num_rows < NUM_INSTRUCTIONS:
            return (f"{num_rows} of AlpacaEval's {NUM_INSTRUCTIONS} instructions: length control without difficulty",)
        return (
            "length control with estimated difficulties: within 0.5 points of AlpacaEval 2's table in 2 of 3 cases",
        )
    if all(j.first_model == BASELINE_1 for j in judgements):
        return ("AlpacaEval 1's table shows a length-controlled win rate from other judgements; this one is our own",)
    return ()


def shown_first(judgement: Judgement) -> str | None:
    """Which answer the judge saw first: as recorded, else, for AlpacaEval 2, drawn again as its program draws it.

    The draw agrees with the recorded log-probabilities of the judge's two letters on all 3,208 rows that have them.
    """
    if judgement.shown_first or judgement.annotator != ANNOTATOR:
        return judgement.shown_first
    seed = f"is_switched_outputs{judgement.prompt}0"
    return "second" if random.Random(seed).choices([False, True], k=1)[0] else "first"


def read_difficulty(path: str | os.PathLike[str]) -> dict[str, float]:
    """Difficulties by row number ("0" is the first) or by instruction, from a CSV file with `instruction_difficulty`.

    Its other column is `instruction`, or `index`, or has no name (AlpacaEval's own file). Raises ValueError otherwise.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "instruction_difficulty" not in rows[0]:
        raise ValueError(
            f"{path}: a CSV file with the columns index (or instruction) and instruction_difficulty is wanted"
        )
    key = next((name for name in ("instruction", "index", "") if name in rows[0]), None)
    if key is None:
        raise ValueError(f"{path}: no column index or instruction says which instruction a difficulty belongs to")
    found: dict[str, float] = {}
    for number, row in enumerate(rows, 1):
        try:
            found[row[key]] = float(row["instruction_difficulty"])
        except (TypeError, ValueError):
            raise ValueError(f"{path}, row {number}: {row['instruction_difficulty']!r} is no difficulty") from None
    return found
