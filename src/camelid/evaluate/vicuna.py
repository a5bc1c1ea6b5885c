"""Vicuna's evaluation: 80 questions, two answers each, GPT-4 gives both a score from 1 to 10 (lmsys.org, March 2023).

Reads a folder of finished reviews and sums them up, one pair of models a file; `camelid eval judge --way vicuna` asks a
judge for new ones. A review is a JSON object with `question_id`, `text`, and, in the published sets, `score`. Use:

    for pair in score_review_set("review/vicuna-13b_20230322-clean-lang", "question.jsonl"):
        print(pair.first, pair.first_total, pair.second, pair.second_total, pair.relative)

The scores come from one order of display only, first answer first, and this judge favours the first place (Wang et al.
2023, arXiv:2305.17926): reproduce old numbers with this, and compare new models in both orders.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.functional.statistics import Estimate, paired_bootstrap_difference, win_rate
from camelid.judges.vicuna import Scores, parse_scores, valid
from camelid.rows import Row, finite, read_rows


@dataclass(frozen=True)
class Review:
    """One review: the scores of the first and the second answer, or None where it has none."""

    question_id: int | str
    scores: Scores | None
    by_hand: bool
    """The scores were recorded with the review, but its text does not say them where it should."""


@dataclass(frozen=True)
class PairScores:
    """The reviews of one pair of models, summed up from the side of the second."""

    file: str
    """Where they stand, from the folder that was given."""
    first: str
    second: str
    first_total: float
    second_total: float
    wins: int
    ties: int
    losses: int
    num_invalid: int
    """Reviews without scores: in no sum, and no ties."""
    num_by_hand: int
    """Reviews among the counted whose scores cannot be read from their text; see `Review.by_hand`."""
    win_rate: Estimate
    """Of the second over the first, a tie counting one half."""
    difference: Estimate
    """Mean score of the second minus that of the first, per question."""

    @property
    def relative(self) -> float:
        """The second's total in percent of the first's: Vicuna's '92% of ChatGPT'; NaN of a first without a point."""
        return 100 * self.second_total / self.first_total if self.first_total else math.nan


def read_review(row: dict[str, Any]) -> Review:
    """One row of a review file. A recorded `score` wins over the text: the published sets were corrected by hand.

    Raises KeyError or ValueError for what is no review.
    """
    question_id, text = row["question_id"], row["text"]
    if isinstance(question_id, bool) or not isinstance(question_id, int | str) or not isinstance(text, str):
        raise ValueError("question_id is to be a number or a name, and text a text")
    read = parse_scores(text)
    recorded = _recorded(row["score"]) if "score" in row else read
    return Review(question_id, recorded, by_hand=recorded is not None and recorded != read)


def _recorded(score: Any) -> Scores | None:
    """Two numbers, and only two; None where they are outside the scale, such as -1, or where null stands for them."""
    if score is None:
        return None
    numbers = score if isinstance(score, list) else []
    if len(numbers) != 2 or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise ValueError(f"score is {json.dumps(score)[:40]}, not two numbers")
    one, two = (finite(number) for number in numbers)
    return None if one is None or two is None else valid((one, two))


def sum_up(first: str, second: str, reviews: Iterable[Review], file: str = "") -> PairScores:
    """Totals, wins and intervals of one pair. Raises ValueError if no review has scores."""
    reviews = list(reviews)
    pairs = [review.scores for review in reviews if review.scores is not None]
    if not pairs:
        said = f"none of the {len(reviews)} reviews of {first} and {second} has scores"
        raise ValueError(f"{file}: {said}" if file else said)
    first_scores, second_scores = [a for a, _ in pairs], [b for _, b in pairs]
    outcomes = [1.0 if b > a else 0.5 if b == a else 0.0 for a, b in pairs]
    return PairScores(
        file=file,
        first=first,
        second=second,
        first_total=sum(first_scores),
        second_total=sum(second_scores),
        wins=outcomes.count(1.0),
        ties=outcomes.count(0.5),
        losses=outcomes.count(0.0),
        num_invalid=len(reviews) - len(pairs),
        num_by_hand=sum(review.by_hand for review in reviews),
        win_rate=win_rate(outcomes),
        difference=paired_bootstrap_difference(second_scores, first_scores),
    )


def score_review_set(
    folder: str | os.PathLike[str], questions: str | os.PathLike[str] | None = None, *, category: str | None = None
) -> list[PairScores]:
    """Every `review_FIRST_SECOND.jsonl` of `folder`, in order of file name; `folder` may be one such file.

    A folder that has none itself, such as Vicuna's `review`, stands for all folders below it.

    `questions`: the question file, JSON Lines with `question_id` and `category`. `category` restricts the sums to the
    questions of one (Vicuna's are generic, knowledge, roleplay, common-sense, fermi, counterfactual, coding, math,
    writing). Raises ValueError for a question that is unknown or reviewed twice, and for a folder without reviews.
    """
    categories = _categories(questions) if questions else None
    if category is not None and categories is None:
        raise ValueError(f"category {category!r} needs the question file, which says what each question belongs to")
    if category is not None and categories is not None and category not in categories.values():
        raise ValueError(
            f"no category {category!r} in {questions}; there are {', '.join(sorted({*categories.values()}))}"
        )
    pairs, top = [], Path(folder)
    for path in _review_files(top):
        first, second = _models(path)
        reviews = [_read_review_row(row) for row in read_rows(path, "question_id, text and perhaps score")]
        _check_questions(path, reviews, categories)
        if category is not None and categories is not None:
            reviews = [r for r in reviews if categories[r.question_id] == category]
        pairs.append(sum_up(first, second, reviews, path.relative_to(top).as_posix() if top.is_dir() else path.name))
    return pairs


def _categories(questions: str | os.PathLike[str]) -> dict[int | str, str]:
    rows = read_rows(questions, "question_id and category")
    for row in rows:
        question_id, category = row.values.get("question_id"), row.values.get("category")
        if not isinstance(question_id, int | str) or not isinstance(category, str):
            raise ValueError(f"{row.place}: not a question; a row has question_id and category")
    return {row.values["question_id"]: row.values["category"] for row in rows}


def _review_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    files = sorted(path.glob("review_*.jsonl")) or sorted(path.glob("**/review_*.jsonl"))
    if not files:
        raise ValueError(f"{path} has no review_FIRST_SECOND.jsonl, nor has a folder below it; give a review set")
    return files


def _models(path: Path) -> tuple[str, str]:
    """The names of the two models, from `review_FIRST_SECOND.jsonl`."""
    parts = path.stem.split("_")
    if len(parts) != 3 or parts[0] != "review":
        raise ValueError(f"{path.name}: name a review file review_FIRST_SECOND.jsonl, without _ in the models' names")
    return parts[1], parts[2]


def _read_review_row(row: Row) -> Review:
    try:
        return read_review(row.values)
    except (KeyError, ValueError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{row.place}: not a review ({missing}); a row has question_id, text and perhaps score"
        ) from None


def _check_questions(path: Path, reviews: list[Review], categories: dict[int | str, str] | None) -> None:
    seen: set[int | str] = set()
    for review in reviews:
        if categories is not None and review.question_id not in categories:
            raise ValueError(f"{path}: question {review.question_id} is not in the question file")
        if review.question_id in seen:
            raise ValueError(f"{path}: question {review.question_id} is reviewed twice; it would count twice")
        seen.add(review.question_id)
