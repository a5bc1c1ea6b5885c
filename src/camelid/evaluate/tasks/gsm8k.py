"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168): grade-school mathematics, solved step by step.

Eight worked examples (as many as Wei et al. 2022, arXiv:2201.11903, show), by rule the first ones of the training file,
whose rationales lack the marks of a calculator that the test file has. The words around them are our own, so scores are
not comparable with published ones to the point. strict_match wants the answer behind "####" as the examples have it,
flexible_extract takes the last number; both names are the lm-evaluation-harness'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Question, Task, share
from camelid.evaluate.tasks.written import INVALID_IS_WRONG, problem_question, score_number

TRAINING_FILE = "explanations/gsm8k_train.tsv"


def read_examples(path: Path) -> list[dict[str, str]]:
    """Rows of the training file (question, answer, rationale between tabs), which lies beside the benchmarks."""
    file = path.parents[1] / TRAINING_FILE
    if not file.exists():
        raise ValueError(f"no {file}, from which the examples come; add it, or ask with --shots 0")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if line:
            cells = line.split("\t")
            if len(cells) != 3:
                raise ValueError(f"{file}, line {number}: {len(cells)} cells between tabs, not 3")
            rows.append({"question": cells[0], "answer": f"{cells[2]}\n#### {cells[1]}"})
    return rows


def ask(number: int, row: Any) -> Question:
    solution, mark, answer = row["answer"].rpartition("\n#### ")
    if not mark:
        raise ValueError(f"item {number}: its answer does not end with '#### number'")
    return problem_question(str(number), row["question"], solution, answer.strip())


TASK = Task(
    name="gsm8k",
    about="grade-school mathematics, step by step",
    source="gsm8k_test.jsonl",
    read=json_lines("question", "answer"),
    ask=ask,
    score=score_number,
    measures=(share("strict_match"), share("flexible_extract"), share("unmarked"), share("invalid")),
    headline="strict_match",
    shots=8,
    read_shots=read_examples,
    shots_file=TRAINING_FILE,
    shots_from=f"the first problems of {TRAINING_FILE}",
    rule=INVALID_IS_WRONG,
)
