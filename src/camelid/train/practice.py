"""What stages share in which a policy practises on prompts: how it draws, what scores and watches it, when it stops."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from camelid.functional.schedules import Schedule
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings, split
from camelid.train.guards import Guards, GuardSettings
from camelid.train.held_out import HeldOut
from camelid.train.rollout import Drawn, sample_rows
from camelid.train.scoring import Scorer, ScoreSettings
from camelid.train.sources import make_scorer
from camelid.types import Prompt, read_records


class PracticeSettings(TrainSettings):
    """Settings of stages that learn from what the policy has just drawn."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate of the policy; LLaMA-2 took a constant 1e-6 for full weights."""
    schedule: Schedule = "constant"
    """Shape of the learning rate over the iterations; LLaMA-2's is constant."""
    warmup_steps: int = Field(default=0, ge=0)
    """Iterations over which the learning rate rises; InstructGPT took 10, from a tenth of the peak, as 10 does here."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Iterations between checkpoints."""
    num_iterations: int = Field(default=100, ge=1)
    """Batches of completions; LLaMA-2 took 200 to 400."""
    sampling: Sampling = Sampling()
    """How completions are drawn; log-probabilities are taken at the same temperature."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    scoring: ScoreSettings = ScoreSettings()
    """What completions are scored by, and how scores are shaped."""
    guards: GuardSettings = GuardSettings()
    """What warns or stops."""
    held_out: int = Field(default=0, ge=0)
    """Prompts kept from training to choose the best model by, where the input held_out_prompts does not give them."""
    held_out_every: int = Field(default=10, ge=1)
    """Iterations between two looks at them; the first is before training, the last at the end."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many looks in a row without a better score; 0: never. The best model is kept either way."""
    logged_samples: int = Field(default=4, ge=0)
    """Completions of each iteration that go to samples.jsonl with their scores."""
    share_trunk: bool = False
    """Put the reward models on the policy's weights in memory. They must be adapter folders (model.save_adapter=true in
    their stages) over the very model that training starts from; scores differ from merged ones by the rounding of
    those."""


class Prepared(NamedTuple):
    """What a loop needs."""

    policy: Policy
    prompts: list[Prompt]
    watch: Watch
    too_long: dict[str, Any]
    """How many prompts did not fit."""


def prepare(run: Run) -> Prepared:
    """Inputs `model`, `prompts`, those that score (`sources.make_scorer`), optional `held_out_prompts`, loaded."""
    s: PracticeSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    reader = Reader(policy.chat, policy.model.config.max_position_embeddings)
    given = read_records(run.inputs["prompts"], Prompt)
    fitting, too_long = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    prompts, apart = split(fitting, s.held_out, derived_seed(s.seed, "held out"))
    if "held_out_prompts" in run.inputs:
        if apart:
            raise ValueError("held-out prompts are given as a file: set held_out=0, or leave the file out")
        given = read_records(run.inputs["held_out_prompts"], Prompt)
        apart, _ = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    scorer = make_scorer(
        run.inputs,
        s.scoring,
        [*prompts, *apart],
        model=s.model,
        chat_format=s.chat_format,
        max_new_tokens=s.sampling.max_new_tokens,
        beside=policy if s.share_trunk else None,
    )
    if s.guards.divergence.limit is not None and scorer.alarm is None:
        raise ValueError("guards.divergence looks at a second reward model: give the input alarm_model")
    held_out = HeldOut(apart, s.sampling, every=s.held_out_every, patience=s.patience, seed=s.seed)
    return Prepared(policy, prompts, Watch(run, scorer, held_out), too_long)


class Watch:
    """Who scores and who watches a run: guards, held-out prompts, logged samples; and what has stopped it."""

    def __init__(self, run: Run, scorer: Scorer, held_out: HeldOut):
        s: PracticeSettings = run.settings
        self.run = run
        self.settings = s
        self.scorer = scorer
        self.held_out = held_out
        self.guards = Guards(s.guards)
        self.stopped_by: str | None = None

    def begin(self, policy: Policy) -> None:
        """Score the held-out prompts before training, so that a run that makes nothing better leaves its start."""
        if self.held_out.prompts:
            self.run.log(0, **self.held_out.look(policy, self.scorer, 0, nullcontext()))

    def before_update(self, done: int, drawn: Drawn, metrics: dict[str, float]) -> None:
        """Log samples of an iteration, and let the guards look at its numbers. Adds theirs to `metrics`."""
        self.run.append("samples.jsonl", sample_rows(done, drawn, self.settings.logged_samples))
        self.stopped_by = self.guards.look(self.run, done, metrics)

    def after_update(
        self, policy: Policy, done: int, outgoing: AbstractContextManager[None] | None = None
    ) -> dict[str, float]:
        """Score the held-out prompts where it is time to. `outgoing`: inside it the policy is what would be saved."""
        if not (self.held_out.due(done) or (self.held_out.prompts and done == self.settings.num_iterations)):
            return {}
        found = self.held_out.look(policy, self.scorer, done, outgoing or nullcontext())
        self.stopped_by = "held_out" if self.held_out.out_of_patience else None
        return found

    def due(self, done: int) -> bool:
        """Whether it is time for a checkpoint."""
        return done % self.settings.checkpoint_every == 0 or self.stopped_by is not None

    def finish(self, policy: Policy) -> dict[str, Any]:
        """Give the policy the best weights where held-out prompts have chosen them; for the stage's metrics."""
        return self.held_out.finish(policy) | ({"stopped_by": self.stopped_by} if self.stopped_by else {})

    def save(self, folder: Path) -> dict[str, Any]:
        """Leave weights in `folder`; returns the numbers."""
        return {
            "scorer": self.scorer.state(),
            "guards": self.guards.state(),
            "held_out": self.held_out.save(folder),
            "stopped_by": self.stopped_by,
        }

    def load(self, folder: Path, saved: dict[str, Any], policy: Policy) -> None:
        """Put back what `save` left and returned."""
        self.scorer.restore(saved["scorer"])
        self.guards.restore(saved["guards"])
        self.held_out.load(folder, saved["held_out"], policy)
        self.stopped_by = saved["stopped_by"]
