"""All tasks by name."""

from __future__ import annotations

from camelid.evaluate.tasks import (
    arc_challenge,
    arc_easy,
    bbh,
    boolq,
    commonsense_qa,
    copa,
    documents,
    gsm8k,
    hellaswag,
    humaneval,
    lambada,
    mmlu,
    nq_open,
    openbookqa,
    piqa,
    svamp,
    triviaqa,
    truthfulqa,
    winogrande,
)
from camelid.evaluate.tasks.task import Task

MODULES = (
    arc_easy,
    arc_challenge,
    hellaswag,
    mmlu,
    truthfulqa,
    boolq,
    piqa,
    winogrande,
    openbookqa,
    commonsense_qa,
    copa,
    lambada,
    documents,
    gsm8k,
    svamp,
    nq_open,
    triviaqa,
    bbh,
    humaneval,
)
TASKS: dict[str, Task] = {module.TASK.name: module.TASK for module in MODULES}


def find_task(name: str) -> Task:
    """The task of that name. Raises ValueError with the names that there are."""
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; there are: {', '.join(TASKS)}")
    return TASKS[name]
