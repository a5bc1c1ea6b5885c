"""Rewards that can be checked: 1 for a completion that is right, 0 for any other; or what a function of yours returns.

What is right stands in the prompt's `answer`: the answer itself, a number, a regular expression, or a program of
assertions that runs behind the one in the completion. Left out: units and algebra (3/4 is not 0.75 here), judges.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camelid.confined.fenced import fenced_code
from camelid.confined.sandbox import check_system, run_programs
from camelid.functional.exact_match import matches_any
from camelid.functional.final_number import last_number
from camelid.types import Prompt

Score = Callable[[Sequence[Prompt], Sequence[str]], Tensor]
"""(prompts, completions) -> scores (N,) float32."""


class ExactAnswer:
    """The whole completion is the answer, whatever its case, articles and punctuation (`functional.exact_match`)."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        require_answers(prompts, "exact_answer")

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        return _share(matches_any(text, [p.answer]) for p, text in zip(prompts, completions, strict=True))


class FinalNumber:
    """The last number of the completion is the last one of the answer, so GSM8K's solutions can be the answers."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        require_answers(prompts, "final_number")
        for prompt in prompts:
            if last_number(prompt.answer) is None:
                raise ValueError(f"final_number: prompt {prompt.id}: the answer {prompt.answer[:80]!r} has no number")

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        return _share(last_number(text) == last_number(p.answer) for p, text in zip(prompts, completions, strict=True))


class Pattern:
    """A regular expression is found in the completion (`^` and `$` are its ends): one for all, or each prompt's own.

    A pattern that backtracks without end on some text stops the run there: write ones that cannot.
    """

    def __init__(self, pattern: str = ""):
        self.pattern = pattern

    def check(self, prompts: Sequence[Prompt]) -> None:
        if not self.pattern:
            require_answers(prompts, "pattern")
        for prompt in prompts:
            try:
                re.compile(self.pattern or prompt.answer)
            except re.error as error:
                where = "scoring.pattern" if self.pattern else f"the answer of prompt {prompt.id}"
                raise ValueError(f"pattern: {where} is no regular expression: {error}") from None

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        found = (re.search(self.pattern or p.answer, text) for p, text in zip(prompts, completions, strict=True))
        return _share(match is not None for match in found)


class UnitTest:
    """The program in the completion (its first fenced block, or all of it) runs, and the answer's assertions after it.

    In a confined process each (`confined.sandbox` says what it holds and what not).
    """

    def check(self, prompts: Sequence[Prompt]) -> None:
        check_system()
        require_answers(prompts, "unit_test")
        for prompt in prompts:
            try:
                compile(prompt.answer, "<answer>", "exec")
            except (SyntaxError, ValueError) as error:
                raise ValueError(f"unit_test: the answer of prompt {prompt.id} is no program: {error}") from None

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        programs = [f"{fenced_code(text)}\n{p.answer}\n" for p, text in zip(prompts, completions, strict=True)]
        return _share(outcome.passed for outcome in run_programs(programs))


class Function:
    """A function of yours, `def NAME(prompt: Prompt, completion: str) -> float`, from a Python file. Trusted: it runs
    in this process. It must say the same whenever it is asked the same, or a resumed run is another one."""

    def __init__(self, file: Path, name: str):
        self.place = f"{file}:{name}"
        spec = importlib.util.spec_from_file_location(f"reward_function_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise ValueError(f"{file} is no Python file; give reward_function a .py file")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
        self.function: Any = getattr(module, name, None)
        if not callable(self.function):
            known = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
            raise ValueError(
                f"{file} has no function {name!r}; it has {', '.join(known) or 'none'}. Name one with scoring.function"
            )

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Nothing is asked of prompts: what the function needs, it says itself."""

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        return torch.tensor([self._one(p, text) for p, text in zip(prompts, completions, strict=True)])

    def _one(self, prompt: Prompt, completion: str) -> float:
        try:
            return float(self.function(prompt, completion))
        except Exception as error:
            raise ValueError(f"{self.place} failed on prompt {prompt.id}: {type(error).__name__}: {error}") from error


def require_answers(prompts: Sequence[Prompt], source: str) -> None:
    """Raise ValueError unless every prompt says what is right."""
    without = [prompt.id for prompt in prompts if not prompt.answer.strip()]
    if without:
        raise ValueError(
            f"{source}: {len(without)} of {len(prompts)} prompts have no `answer`, the first is {without[0]}; add the "
            f"field to their rows, or leave {source} out of scoring.sources"
        )


def _share(right: Any) -> Tensor:
    return torch.tensor([float(value) for value in right])
