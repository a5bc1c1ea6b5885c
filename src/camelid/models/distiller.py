"""A student cut from a teacher, both in memory: forward_backward, step, measure. No loop sees a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from camelid.functional.distillation import Distilled, distillation_loss
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.compute import choose_compute
from camelid.models.cutting import Cut, cut_layers, kept_layers
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.policy import Policy
from camelid.models.trunk import ModelSettings, load_pretrained, prepare_training, trained_parameters


class Distiller:
    """`student` trains, `teacher` is frozen and in the format of matrix products."""

    def __init__(self, teacher: Policy, student: Policy, kept: Sequence[int], *, temperature: float, alpha: float):
        self.teacher = teacher
        self.student = student
        self.kept = list(kept)
        self.temperature = temperature
        self.alpha = alpha

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
        seed: int,
        chat_format: str = "model",
    ) -> Distiller:
        """The model at `path` as the teacher, and as the student with `keep` of its layers."""
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
        teacher = Policy.load(path, settings, chat_format)
        return cls(teacher, student, kept, temperature=temperature, alpha=alpha)

    def forward_backward(self, rows: Sequence[Row]) -> dict[str, float]:
        """Add the gradient of the summed loss over all rows. Returns `loss` and its parts a token, and `count`."""
        totals = dict.fromkeys(("loss", "kl", "cross_entropy", "count"), 0.0)
        for batch in self._batches(rows):
            result = self._loss(batch, self.alpha)
            if not torch.isfinite(result.sum):
                raise FloatingPointError(f"the loss of rows {batch.rows} is {result.sum.item()}")
            result.sum.backward()
            for name, value in zip(totals, (result.sum, result.kl, result.cross_entropy, result.tokens), strict=True):
                totals[name] += value.item()
        count = totals.pop("count")
        return {name: value / count for name, value in totals.items()} | {"count": count}

    def step(self, learning_rate: float, count: float) -> float:
        """One update with the gradients divided by `count`. Returns their norm before clipping."""
        return self.student.step(learning_rate, count)

    @torch.no_grad()
    def measure(self, rows: Sequence[Row]) -> dict[str, float]:
        """Mean KL to the teacher and mean negative log-likelihood a token, in nats."""
        kl = nll = count = 0.0
        for batch in self._batches(rows):
            result = self._loss(batch, alpha=1.0)
            kl, nll, count = kl + result.kl.item(), nll + result.cross_entropy.item(), count + result.tokens.item()
        return {"kl": kl / count, "nll": nll / count}

    def teacher_nll(self, rows: Sequence[Row]) -> float:
        """The teacher's mean negative log-likelihood a token."""
        return -sum(float(x.sum()) for x in self.teacher.logprobs(rows)) / sum(sum(row.loss_mask) for row in rows)

    def _loss(self, batch: Batch, alpha: float) -> Distilled:
        trained = batch.loss_mask[0].nonzero()[:, 0]
        hidden = self.student.trunk.hidden(batch)[0, trained - 1]
        teacher_hidden = hidden
        if alpha > 0:
            with torch.no_grad():
                teacher_hidden = self.teacher.trunk.hidden(batch)[0, trained - 1]
        heads = [policy.model.get_output_embeddings().weight for policy in (self.student, self.teacher)]
        # The student's float32 states come out of autocast's last norm: back to the format of matrix products.
        return distillation_loss(
            hidden.to(self.student.compute.dtype),
            heads[0],
            teacher_hidden.detach(),
            heads[1],
            batch.ids[0, trained],
            temperature=self.temperature,
            alpha=alpha,
        )

    def _batches(self, rows: Sequence[Row]) -> list[Batch]:
        policy = self.student
        return make_batches([[row] for row in rows], policy.settings.micro_batch_tokens, policy.compute.device)
