"""The sides of `benchmarks/against_trl_losses.py`: a batch that TRL's trainer drew and scored, and camelid on it."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
import trl
from datasets import Dataset

from camelid.functional.advantages import RunningMean
from camelid.functional.policy_gradient import completion_kl
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sample
from camelid.train.algorithms import Choices, advantages_of, policy_loss
from camelid.train.rollout import completion_row, pad_completions

TEMPERATURE = 0.8


class Case(NamedTuple):
    """The choices of ours, and TRL's names for them."""

    ours: Choices
    trainer: str
    theirs: dict[str, Any]


class Models(NamedTuple):
    """Folders of one network with three sets of weights."""

    drawing: Path
    training: Path
    reference: Path


def score(completion_ids: list[list[int]]) -> list[float]:
    """A rule that no group agrees on: the share of even tokens, and a little for length."""
    return [sum(token % 2 == 0 for token in ids) / len(ids) + 0.03 * len(ids) for ids in completion_ids]


class Theirs:
    """TRL's trainer with a batch that it drew and scored."""

    def __init__(self, case: Case, models: Models, chosen: Any, folder: Path, seed: int):
        self.case, self.models = case, models
        self.rewards: list[float] = []
        c, rows = case.ours, chosen.prompts * chosen.copies
        config, trainer = (getattr(trl, f"{case.trainer}{part}") for part in ("Config", "Trainer"))
        draw = random.Random(seed)
        prompts = ["".join(draw.choices("abcdefgh ", k=draw.randint(3, 20))) for _ in range(chosen.prompts)]
        arguments = config(
            output_dir=str(folder),
            beta=c.kl_coef,
            epsilon=c.clip_low,
            epsilon_high=c.clip_high,
            num_generations=chosen.copies,
            per_device_train_batch_size=rows,
            max_completion_length=chosen.new,
            temperature=TEMPERATURE,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            seed=seed,
            model_init_kwargs={"dtype": "float32"},
            **case.theirs,
        )
        self.trainer = trainer(
            model=str(models.drawing),
            args=arguments,
            reward_funcs=self._reward,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=transformers.AutoTokenizer.from_pretrained(models.drawing),
        )
        self.trainer.current_gradient_accumulation_steps = 1
        if c.kl_coef:
            self._put(self.trainer.ref_model, models.reference)
        inputs = [{"prompt": prompt} for prompt in prompts for _ in range(chosen.copies)]
        self.batch = self.trainer._generate_and_score_completions(inputs)
        if case.trainer == "GRPO":
            with torch.no_grad():
                self.batch["old_per_token_logps"] = self._logprobs()
        self._put(self.trainer.model, models.training)

    def loss(self, batch: dict[str, Any] | None = None) -> torch.Tensor:
        return self.trainer._compute_loss(self.trainer.model, self.batch if batch is None else batch)

    def gradients(self) -> dict[str, torch.Tensor]:
        """Of the whole batch's loss."""
        self.trainer.model.zero_grad()
        self.loss().backward()
        return {name: p.grad for name, p in self.trainer.model.named_parameters()}

    @torch.no_grad()
    def parts(self) -> list[float]:
        """The loss of each token, or with ratios of whole completions, of each completion."""
        mask = self.batch["completion_mask"].bool()
        if self.case.ours.ratio != "token":
            return [self.loss(self._only(slice(row, row + 1))).item() for row in range(len(mask))]
        # TRL averages at once. A mask of tools with one token in it leaves that token's loss over what it divides by.
        known = self._logprobs()
        self.trainer._get_per_token_logps_and_entropies = lambda *_, **__: (known, torch.zeros_like(known), None)
        over = {
            "completion": len(mask),
            "token": self.batch["num_items_in_batch"].item() if "num_items_in_batch" in self.batch else 0,
            "constant": len(mask) * self.trainer.max_completion_length,
        }[self.case.ours.average]
        found = []
        for place in mask.nonzero().tolist():
            one = torch.zeros_like(self.batch["completion_mask"])
            one[tuple(place)] = 1
            found.append(self.loss(self.batch | {"tool_mask": one}).item() * over)
        return found

    @torch.no_grad()
    def logprobs(self) -> torch.Tensor:
        """Of the counted tokens under the weights that train, row after row."""
        return self._logprobs()[self.batch["completion_mask"].bool()]

    def _logprobs(self) -> torch.Tensor:
        ids = torch.cat([self.batch["prompt_ids"], self.batch["completion_ids"]], 1)
        mask = torch.cat([self.batch["prompt_mask"], self.batch["completion_mask"]], 1)
        new = self.batch["completion_ids"].shape[1]
        return self.trainer._get_per_token_logps_and_entropies(self.trainer.model, ids, mask, new)[0]

    def _only(self, rows: slice) -> dict[str, Any]:
        whole = len(self.batch["advantages"])
        return {
            name: value[rows] if isinstance(value, torch.Tensor) and value.shape[:1] == (whole,) else value
            for name, value in self.batch.items()
        }

    def _reward(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        self.rewards = score(completion_ids)
        return self.rewards

    @staticmethod
    def _put(model: Any, path: Path) -> None:
        model.load_state_dict(transformers.AutoModelForCausalLM.from_pretrained(path, dtype="float32").state_dict())


class Ours:
    """camelid's loop from the token ids and the scores on."""

    def __init__(self, theirs: Theirs, chosen: Any):
        batch, models, self.case = theirs.batch, theirs.models, theirs.case
        ids = {
            side: [
                row[mask.bool()].tolist() for row, mask in zip(batch[f"{side}_ids"], batch[f"{side}_mask"], strict=True)
            ]
            for side in ("prompt", "completion")
        }
        pairs = list(zip(ids["prompt"], ids["completion"], strict=True))
        plain = [completion_row(prompt, Sample(completion, [], True)) for prompt, completion in pairs]
        starts = [len(prompt) for prompt, _ in pairs]

        held = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=128)
        logprobs = {
            name: Policy.load(path, held).logprobs(plain, temperature=TEMPERATURE)
            for name, path in models._asdict().items()
        }
        self.logprobs = torch.cat([row[start:] for row, start in zip(logprobs["training"], starts, strict=True)])
        scores = torch.tensor(theirs.rewards)
        if self.case.ours.kl == "reward":
            old, ref = (pad_completions(logprobs[name], starts) for name in ("drawing", "reference"))
            mask = pad_completions([torch.tensor(row.loss_mask) for row in plain], starts)
            scores = scores - self.case.ours.kl_coef * completion_kl(old, ref, mask)
        grouped = scores.view(-1, chosen.copies)
        self.advantages = advantages_of(grouped, self.case.ours.advantage, RunningMean()).view(-1)
        self.rows = []
        sides = (plain, logprobs["drawing"], logprobs["reference"], self.advantages)
        for row, old, ref, advantage in zip(*sides, strict=True):
            values = {"old_logprobs": old, "ref_logprobs": ref, "advantages": advantage.repeat(len(old))}
            self.rows.append(Row(row.ids, row.loss_mask, values))
        self.policy = Policy.load_for_training(models.training, held, OptimizerSettings(), seed=0)
        self.constant = chosen.new

    def gradients(self) -> tuple[float, float, dict[str, torch.Tensor]]:
        """Loss, share of clipped tokens and gradients of the whole batch, in micro-batches of 128 tokens."""
        metrics = self._forward_backward(self.rows, self.case.ours)
        named = self._parameters()
        return (
            metrics["loss"],
            metrics["clip_fraction"],
            {name: p.grad / metrics["count"] for name, p in named.items() if p.grad is not None},
        )

    def parts(self) -> list[float]:
        """As TRL's."""
        c = self.case.ours
        if c.ratio != "token":
            return [self._forward_backward([row], c)["loss"] for row in self.rows]
        alone = [
            Row(row.ids, [place == own for place in range(len(row.ids))], row.values)
            for row in self.rows
            for own, trains in enumerate(row.loss_mask)
            if trains
        ]
        return [self._forward_backward([row], c._replace(average="sum"))["loss"] for row in alone]

    def _forward_backward(self, rows: list[Row], c: Choices) -> dict[str, float]:
        loss = partial(policy_loss, c=c, kl_coef=c.kl_coef, constant=self.constant)
        return self.policy.forward_backward(rows, loss, temperature=TEMPERATURE)

    def _parameters(self) -> dict[str, Any]:
        assert self.policy.updater is not None
        return self.policy.updater.named
