"""A student and its teacher, both in memory: write, forward_backward, step, measure. No loop sees a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from camelid.functional.distillation import Distilled, Divergence, distillation_loss
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.compute import choose_compute
from camelid.models.cutting import Cut, cut_layers, kept_layers
from camelid.models.losses import Sums, read_at_once
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.policy import Policy
from camelid.models.pretrained import load_pretrained
from camelid.models.sampling import Sampling
from camelid.models.trained import prepare_training, trained_parameters


class Distiller:
    """`student` trains, `teacher` is frozen and in the format of matrix products."""

    def __init__(
        self,
        teacher: Policy,
        student: Policy,
        kept: Sequence[int],
        *,
        temperature: float,
        alpha: float,
        divergence: Divergence,
    ):
        if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
            raise ValueError(f"{teacher.path} and {student.path} have different tokenizers: they share no vocabulary")
        self.teacher = teacher
        self.student = student
        self.kept = list(kept)
        self.temperature = temperature
        self.alpha = alpha
        self.divergence: Divergence = divergence

    @classmethod
    def create(
        cls,
        path: Path,
        settings: ModelSettings,
        optimizer: OptimizerSettings,
        *,
        keep: int,
        cut: Cut,
        temperature: float,
        alpha: float,
        divergence: Divergence,
        seed: int,
        teacher_path: Path | None = None,
        chat_format: str = "model",
    ) -> Distiller:
        """The model at `path` with `keep` of its layers as the student, and whole, or another one, as the teacher."""
        if settings.save_adapter:
            raise ValueError(
                "save_adapter: the student's layers are some of the teacher's; it is no base model on disk"
            )
        compute = choose_compute(settings.precision)
        dtype = compute.dtype if settings.lora_rank else torch.float32
        model = load_pretrained(AutoModelForCausalLM, path, compute, dtype)
        student = Policy(path, model, compute, settings, chat_format)
        kept = kept_layers(model.config.num_hidden_layers, keep, cut)
        cut_layers(model, kept)
        prepare_training(model, settings, seed)
        student.updater = Updater(trained_parameters(model), optimizer)
        teacher = Policy.load(teacher_path or path, settings, chat_format)
        return cls(teacher, student, kept, temperature=temperature, alpha=alpha, divergence=divergence)

    def write(self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seed: int) -> list[Row]:
        """Rows that the student writes now, a completion a prompt; only the completions train."""
        samples = [found[0] for found in self.student.sample(prompts, sampling, seed=seed)]
        return [
            Row([*prompt, *sample.ids], [False] * len(prompt) + [True] * len(sample.ids))
            for prompt, sample in zip(prompts, samples, strict=True)
        ]

    def forward_backward(self, rows: Sequence[Row], own: Sequence[Row] = ()) -> dict[str, float]:
        """Add the gradient of the summed loss over all rows. Returns `loss` and its parts a token, and `count`.

        `own` rows were written by the student: they train to the teacher alone, for their text is nothing to learn.
        No gradient flows through their sampling (Agarwal et al. 2023, arXiv:2306.13649, section 3).
        """
        totals = dict.fromkeys(("loss", "kl", "cross_entropy", "count"), 0.0)
        found: list[Sums] = []
        parts = [(batch, self.alpha) for batch in self._batches(rows)] + [(batch, 1.0) for batch in self._batches(own)]
        for batch, alpha in parts:
            result = self._loss(batch, alpha)
            result.sum.backward()
            values = (result.sum, result.kl, result.cross_entropy, result.tokens)
            found.append(Sums(batch.rows, dict(zip(totals, values, strict=True))))
        for numbers in read_at_once(found):
            totals = {name: totals[name] + number for name, number in numbers.items()}
        count = totals.pop("count")
        return {name: value / count for name, value in totals.items()} | {"count": count}

    def step(self, learning_rate: float, count: float) -> float:
        """One update with the gradients divided by `count`. Returns their norm before clipping."""
        return self.student.step(learning_rate, count)

    @torch.no_grad()
    def measure(self, rows: Sequence[Row]) -> dict[str, float]:
        """Mean KL to the teacher, both ways, and mean negative log-likelihood a token, in nats."""
        sums = dict.fromkeys(("kl", "reverse_kl", "nll"), 0.0)
        count = 0.0
        for batch in self._batches(rows):
            states = self._states(batch, with_teacher=True)
            forward, reverse = (self._of_states(batch, *states, 1.0, way) for way in ("forward", "reverse"))
            for name, value in zip(sums, (forward.kl, reverse.kl, forward.cross_entropy), strict=True):
                sums[name] += value.item()
            count += forward.tokens.item()
        return {name: value / count for name, value in sums.items()}

    def teacher_nll(self, rows: Sequence[Row]) -> float:
        """The teacher's mean negative log-likelihood a token."""
        return -sum(float(x.sum()) for x in self.teacher.logprobs(rows)) / sum(sum(row.loss_mask) for row in rows)

    def _loss(self, batch: Batch, alpha: float) -> Distilled:
        states = self._states(batch, with_teacher=alpha > 0)
        return self._of_states(batch, *states, alpha, self.divergence)

    def _states(self, batch: Batch, *, with_teacher: bool) -> tuple[Tensor, Tensor]:
        """The states (N, H) of student and teacher that predict the trained tokens; the student's for both without."""
        before = batch.trained - 1
        # The student's float32 states come out of autocast's last norm: back to the format of matrix products.
        hidden = self.student.trunk.hidden(batch)[0, before].to(self.student.compute.dtype)
        if not with_teacher:
            return hidden, hidden.detach()
        with torch.no_grad():
            return hidden, self.teacher.trunk.hidden(batch)[0, before]

    def _of_states(
        self, batch: Batch, hidden: Tensor, teacher_hidden: Tensor, alpha: float, divergence: Divergence
    ) -> Distilled:
        student, teacher = (policy.model.get_output_embeddings().weight for policy in (self.student, self.teacher))
        return distillation_loss(
            hidden,
            student,
            teacher_hidden,
            teacher,
            batch.ids[0, batch.trained],
            temperature=self.temperature,
            alpha=alpha,
            divergence=divergence,
        )

    def _batches(self, rows: Sequence[Row]) -> list[Batch]:
        policy = self.student
        return make_batches([[row] for row in rows], policy.settings.micro_batch_tokens, policy.compute.device)
