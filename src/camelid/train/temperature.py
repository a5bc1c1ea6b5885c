"""At which temperature should rejection sampling draw? Where the best of as many samples as it takes scores highest.

With more samples a higher temperature pays, and each round's policy has an optimum of its own: LLaMA-2 found 1.2 to 1.3
for 10 to 100 samples after RLHF, and tunes it anew in every round (arXiv:2307.09288, section 3.2.3). Every temperature
draws from the same streams for the same prompts, so that differences are those of the temperature; the intervals are
over prompts. `best` takes what this leaves as its input `temperature`. The chosen temperature's own mean is a little
too high, as every maximum of noisy numbers is: `best` measures it anew on other samples.

    camelid temperature --model MODEL --reward_model REWARD --prompts prompts.jsonl --set best_of=16
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from camelid.durable import write_json
from camelid.functional.best_of_n import best_of_n_by_prompt, best_of_n_curve
from camelid.functional.statistics import bootstrap_mean, paired_bootstrap_difference
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.train.scored_samples import CURVE_SIZES, finished_samples, read_groups, sample_and_score
from camelid.types import Prompt, draw, read_records


class TemperatureSettings(Settings):
    """Choice of the sampling temperature."""

    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    sampling: Sampling = Sampling()
    """How completions are drawn, but for the temperature."""
    temperatures: tuple[PositiveFloat, ...] = Field(default=(0.6, 0.8, 1.0, 1.2, 1.4), min_length=1)
    """Temperatures to try."""
    best_of: int = Field(default=4, ge=1)
    """The number of samples among which `best` will choose: its `num_samples`."""
    num_samples: int = Field(default=8, ge=1)
    """Samples a prompt and temperature, at least `best_of`; more of them make the estimate less noisy."""
    unfinished_score: float | None = None
    """Score of a completion that was cut before its end of turn, whatever the reward model says (null: its own)."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    chat_format: str = "model"
    """Chat format of the policy and the reward model."""
    max_prompts: int = Field(default=64, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    prompts_a_chunk: int = Field(default=32, ge=1)
    """Prompts sampled between two writes to disk: what a kill can cost."""

    @model_validator(mode="after")
    def _enough(self) -> TemperatureSettings:
        if self.num_samples < self.best_of:
            raise ValueError(f"num_samples = {self.num_samples} cannot estimate the best of {self.best_of}")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError(f"temperatures = {list(self.temperatures)} names one twice")
        return self


def choose_temperature(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `safety_reward_model`, `prompts` -> temperature.json, results.json,
    samples-TEMPERATURE.jsonl."""
    s: TemperatureSettings = run.settings
    drawn = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    reader = Reader.of(run.inputs["model"], s.chat_format)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    temperatures = sorted(s.temperatures)
    files = {t: run.path / f"samples-{t:g}.jsonl" for t in temperatures}
    done = {t: finished_samples(files[t], len(prompts), s.num_samples, s.prompts_a_chunk) for t in temperatures}
    if sum(done.values()) < len(prompts) * len(temperatures):
        _sample(run, prompts, files, done)

    scores, finished = {}, {}
    for t in temperatures:
        groups = read_groups(files[t], s.num_samples)
        finished[t] = np.array([[sample.finished for sample in group] for group in groups])
        own = np.array([[sample.score for sample in group] for group in groups])
        scores[t] = own if s.unfinished_score is None else np.where(finished[t], own, s.unfinished_score)
    best = {t: best_of_n_by_prompt(scores[t], s.best_of) for t in temperatures}  # (P,) each
    chosen, middle = highest(best), temperatures[len(temperatures) // 2]
    points = [
        {
            "temperature": t,
            "best": bootstrap_mean(best[t])._asdict(),
            "mean": bootstrap_mean(scores[t].mean(1))._asdict(),
            "gap_to_chosen": paired_bootstrap_difference(best[t], best[chosen])._asdict(),
            "finished": float(finished[t].mean()),
            "curve": [
                {"n": n, "mean": mean, "standard_error": error if len(prompts) > 1 else None}
                for n, mean, error in best_of_n_curve(scores[t], [n for n in CURVE_SIZES if n <= s.num_samples])
            ],
        }
        for t in temperatures
    ]
    choice = {"temperature": chosen, "best_of": s.best_of, "num_prompts": len(prompts), "temperatures": points}
    write_json(run.path / "temperature.json", choice)
    name = f"best_of_{s.best_of}"
    results = {
        name: {f"temperature_{point['temperature']:g}": point["best"] for point in points},
        # The middle one is known before anything is drawn: a gap to it is not smaller for having been chosen.
        f"{name}_less_at_{middle:g}": {
            f"temperature_{t:g}": paired_bootstrap_difference(best[t], best[middle])._asdict()
            for t in temperatures
            if t != middle
        },
        "points": points,
    }
    write_json(run.path / "results.json", results)
    return {"temperature": chosen, "num_prompts": len(prompts), name: float(best[chosen].mean())} | too_long


def highest(best: dict[float, NDArray[np.float64]]) -> float:
    """The temperature with the highest mean over prompts; of equal ones the lowest."""
    return max(sorted(best), key=lambda t: float(best[t].mean()))  # max keeps the first of equals


def _sample(run: Run, prompts: list[Prompt], files: dict[float, Path], done: dict[float, int]) -> None:
    s: TemperatureSettings = run.settings
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    safety = run.inputs.get("safety_reward_model")
    rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
    total = len(files) * len(prompts) * s.num_samples
    with run.progress("samples", total, sum(done.values()) * s.num_samples) as tick:
        for temperature, file in files.items():
            sample_and_score(
                file,
                policy,
                rewards,
                prompts,
                s.sampling.model_copy(update={"temperature": temperature}),
                s.num_samples,
                done=done[temperature],
                prompts_a_chunk=s.prompts_a_chunk,
                seed=s.seed,
                tick=tick,
            )
