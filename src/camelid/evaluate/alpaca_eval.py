"""What is known of AlpacaEval's files before a judgement is read: for length-controlled win rates, and of orders.

AlpacaEval compares a model with a baseline on 805 instructions: with text_davinci_003 in its first version, in whole
verdicts; with gpt4_1106_preview in its second, in graded ones. The published length-controlled win rates rest on two
things that the files do not hold: answers of the baseline asked to be short or long, and a difficulty of each
instruction, fitted on the whole leaderboard and kept on a data hub. Who has the difficulties can give them
(`read_difficulty`). Without, a prior stands for the former and two constants for the latter. How far the results are
from the published ones, in points, on models whose judgements are in no constant:

    AlpacaEval 2, 45 complete files    mean 0.43, median 0.27, largest 2.0; 30 within 0.5, 42 within 1
    AlpacaEval 2, 6 incomplete files   mean 0.64, median 0.47, largest 1.8; 3 within 0.5, 5 within 1
    AlpacaEval 1, 51 files             mean 0.66, median 0.37, largest 3.4; 32 within 0.5, 38 within 1

The constants come from published tables and from three files. The form of the terms was chosen with these figures in
view, among some twenty whose means on those 45 lie between 0.4 and 0.7. Not in them are an attack on the judge
(NullModel, 4.6 points off) and answers of a few words each (gpt4_gamed, 1.1).

Where rows are missing from a file of AlpacaEval 2 (803 of text_davinci_001's 805), the published fit pairs the rows
behind the first missing one with their neighbours' difficulties, so that these explain next to nothing; for such files
`known_of` leaves out what depends on the instruction. Estimating difficulties from several files at once was tried and
made it worse (means of 0.5 to 1.6), so a file's figure does not depend on the other files given.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence

import numpy as np

from camelid.evaluate.judgements import Judgement
from camelid.functional.length_control import Known
from camelid.rows import read_rows

FIRST = ("text_davinci_003", "alpaca_eval_gpt4")
"""Baseline of AlpacaEval 1 and how the names of its judges begin."""
SECOND = ("gpt4_1106_preview", "weighted_alpaca_eval_gpt4_turbo")
"""The same of AlpacaEval 2."""
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


def version_of(judgements: Sequence[Judgement]) -> int:
    """AlpacaEval's version by baseline and judge, for which the constants above hold; 0 for any other judgements.

    A judge that the file does not name is taken for AlpacaEval's.
    """
    for version, (baseline, annotator) in enumerate((FIRST, SECOND), 1):
        if all(
            j.first_model == baseline and (not j.annotator or j.annotator.startswith(annotator)) for j in judgements
        ):
            return version
    return 0


def known_of(judgements: Sequence[Judgement], num_rows: int, difficulty: Sequence[float] | None) -> Known:
    """What `length_controlled_win_rate` may know of these judgements, all with both texts, of a file of `num_rows`."""
    version = version_of(judgements)
    if difficulty is not None:
        return Known(LENGTH_WEIGHT, difficulty, DIFFICULTY_WEIGHT) if version else Known(difficulty=difficulty)
    if version == 2 and num_rows < NUM_INSTRUCTIONS:
        return Known(LENGTH_WEIGHT, spread=SPREAD)
    if version == 2:
        lengths = np.array([len(j.first_text or "") for j in judgements])
        return Known(LENGTH_WEIGHT, BY_LENGTH * np.sqrt(lengths / 2000), (1.0, DIFFICULTY_WEIGHT[1]), SPREAD_BEYOND)
    # Difficulty is fitted against the baseline of AlpacaEval 2; against that of AlpacaEval 1 it explains little.
    return Known(LENGTH_WEIGHT) if version == 1 else Known()


def notes_on(judgements: Sequence[Judgement], num_rows: int, *, difficulty_given: bool) -> tuple[str, ...]:
    """What a reader of the length-controlled win rate of an AlpacaEval file has to know."""
    version = version_of(judgements)
    if not version or difficulty_given:
        return ()
    notes: tuple[str, ...] = (
        "length-controlled: our estimate; 2 of 3 are within 0.5 points of AlpacaEval's table, some 2 or 3 off",
    )
    if version == 2 and num_rows < NUM_INSTRUCTIONS:
        notes += (f"{num_rows} of AlpacaEval's {NUM_INSTRUCTIONS} instructions: length control without difficulty",)
    return notes


def shown_first(judgement: Judgement) -> str | None:
    """Which answer the judge saw first: as recorded, else, for AlpacaEval 2, drawn again as its program draws it.

    The draw agrees with the recorded log-probabilities of the judge's two letters on all 3,208 rows that have them.
    """
    if judgement.shown_first or judgement.annotator != SECOND[1]:
        return judgement.shown_first
    seed = f"is_switched_outputs{judgement.prompt}0"
    return "second" if random.Random(seed).choices([False, True], k=1)[0] else "first"


def read_difficulty(path: str | os.PathLike[str]) -> dict[str, float]:
    """Difficulties by row number ("0" is the first) or by instruction, from a CSV file with `instruction_difficulty`.

    Its other column is `instruction`, or `index`, or has no name (AlpacaEval's own file). Raises ValueError otherwise.
    """
    rows = read_rows(path, "index (or instruction) and instruction_difficulty")
    if "instruction_difficulty" not in rows[0].values:
        raise ValueError(
            f"{path}: a CSV file with the columns index (or instruction) and instruction_difficulty is wanted"
        )
    key = next((name for name in ("instruction", "index", "") if name in rows[0].values), None)
    if key is None:
        raise ValueError(f"{path}: no column index or instruction says which instruction a difficulty belongs to")
    found: dict[str, float] = {}
    for _, place, row in rows:
        try:
            difficulty = float(row["instruction_difficulty"])
        except (KeyError, TypeError, ValueError, OverflowError):
            difficulty = math.nan
        if not math.isfinite(difficulty):
            raise ValueError(f"{place}: {row.get('instruction_difficulty')!r} is no difficulty")
        found[str(row.get(key))] = difficulty
    return found
