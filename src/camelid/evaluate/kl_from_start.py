"""How far a version has gone from its start, measured on its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from camelid.functional.statistics import Estimate, bootstrap_mean
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy


class OwnAnswer(NamedTuple):
    """An answer as the version drew it."""

    prompt_ids: Sequence[int]
    ids: Sequence[int]
    logprob: float
    """Of all `ids` together, under the version, at the sampling temperature (at 0, at temperature 1)."""


def kl_from_start(
    start_model: Path, settings: ModelSettings, chat_format: str, answers: Sequence[OwnAnswer], temperature: float
) -> Estimate:
    """KL(version || start) a completion, in nats: the mean log-ratio over the version's own samples.

    The version's part was noted by the sampler; both are taken at the sampling temperature, so the estimate is unbiased
    for what was drawn. The interval is over answers: give one a prompt.
    """
    rows = [Row([*a.prompt_ids, *a.ids], [False] * len(a.prompt_ids) + [True] * len(a.ids)) for a in answers]
    start = Policy.load(start_model, settings, chat_format)
    theirs = start.logprobs(rows, temperature=temperature or 1.0)
    return bootstrap_mean([a.logprob - float(logprobs.sum()) for a, logprobs in zip(answers, theirs, strict=True)])
