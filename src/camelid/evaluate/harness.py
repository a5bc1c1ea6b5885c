"""Any task of the lm-evaluation-harness on our engine: an adapter, for what camelid has no task of its own for.

    camelid eval harness --model MODEL --tasks arc_easy,wikitext

Needs the extra `eval` (lm-eval). Log-likelihoods come from shared prompts, generation from our sampler, greedy only.
Prompts that are longer than the model's context lose their beginning, as there; how many is in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.models.answering import Answerer
from camelid.models.prefix_tree import Asked
from camelid.models.requests import Generate, Likelihood, Rolling

DEFAULT_NEW_TOKENS = 256
"""What the harness' own models write at most where a task does not say."""


def harness_model(answerer: Answerer) -> Any:
    """An `lm_eval.api.model.LM` that answers with ours. Raises ValueError where lm-eval is not installed."""
    try:
        from lm_eval.api.model import LM
    except ImportError:
        raise ValueError("lm-eval is not installed: pip install 'camelid[eval]'") from None

    class CamelidModel(LM):
        """Three kinds of request, in the order that they came."""

        def __init__(self) -> None:
            super().__init__()
            self.num_cut = 0

        def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            rows = answerer.pairs([Likelihood(*request.args) for request in requests], limit=None)
            scores = answerer.scores([self._cut(row) for row in rows])
            return [(float(s.logprobs.double().sum()), bool(s.likeliest.all())) for s in scores]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            return [answer.logprob for answer in answerer.rolling([Rolling(request.args[0]) for request in requests])]

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            return [answer.text for answer in answerer.generate([_generate(*request.args) for request in requests])]

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            """The conversation as text; a started answer is gone on with."""
            return answerer.policy.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )

        @property
        def tokenizer_name(self) -> str:
            return answerer.policy.path.name

        def _cut(self, row: Asked) -> Asked:
            extra = len(row.ids) - 1 - answerer.context_tokens
            if extra <= 0:
                return row
            if row.start - extra < 1:
                raise ValueError(f"a continuation of {len(row.ids) - row.start} tokens is longer than the context")
            self.num_cut += 1
            return Asked(row.ids[extra:], row.start - extra)

    return CamelidModel()


def run_harness(
    answerer: Answerer, tasks: Sequence[str], *, include: Path | None, shots: int | None, limit: int | None
) -> dict[str, Any]:
    """The harness' own results of `tasks`, its names for tasks and measures kept."""
    lm = harness_model(answerer)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=None if include is None else str(include))
    known = set(manager.all_tasks)
    unknown = [name for name in tasks if name not in known]
    if unknown:
        raise ValueError(f"lm-eval has no task {', '.join(unknown)}; `lm-eval ls tasks` lists them")
    found = simple_evaluate(
        model=lm, tasks=list(tasks), num_fewshot=shots, limit=limit, task_manager=manager, bootstrap_iters=0
    )
    return {"results": found["results"], "n_shots": found["n-shot"], "n_samples": found["n-samples"], "cut": lm.num_cut}


def _generate(prompt: str, settings: dict[str, Any]) -> Generate:
    """A request with the harness' settings. Raises ValueError for those that our greedy decoding does not have."""
    if settings.get("do_sample") and settings.get("temperature", 1.0) > 0:
        raise ValueError("this task samples its answers; camelid's adapter writes greedily only")
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else until
    limit = settings.get("max_gen_toks") or settings.get("max_new_tokens") or DEFAULT_NEW_TOKENS
    return Generate(prompt, tuple(stops), int(limit))
