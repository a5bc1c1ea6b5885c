"""A reward model: a trunk with one scalar read at the last token of a conversation.

On disk it is an `AutoModelForSequenceClassification` with one label, so that others can load it. The trunk may be cut
after its first layers: the middle of a small language model ranks answers as well as its end, at less cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from camelid.models.adapter_config import is_adapter
from camelid.models.adapter_files import SCORE_NOTES, read_adapter
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.chat import load_chat_format
from camelid.models.checkpointing import load_state, save_state
from camelid.models.compiling import compile_where_it_pays
from camelid.models.compute import Compute, choose_compute, send
from camelid.models.loading import tokenizer_folder, weights_folder
from camelid.models.losses import Sums, read_at_once
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.outputs import Loss
from camelid.models.pretrained import check_architecture, load_pretrained
from camelid.models.saving import save_adapter_beside, save_reward_model
from camelid.models.trained import given_adapter, prepare_training, trained_parameters
from camelid.models.trunk import Trunk
from camelid.types import Message

ScoreLoss = Callable[[Tensor, Tensor], Loss]
"""(scores, their rows' places among all rows of the step), each (R,) -> a loss, its logs summed over the same count."""


class RewardModel:
    """Scores conversations, on a scale of `score_mean` and `score_std`: those of a policy's own samples, or of
    demonstrations.

    `raw` gives scores as they were trained, in logits: there the sigmoid of a score is P(safe), where the safety loss
    trained it. The sigmoid of a difference is the probability that people prefer one answer, `preference_logits`.
    """

    def __init__(self, model: Any, tokenizer: Any, compute: Compute, settings: ModelSettings, chat_format: str):
        check_architecture(model)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.chat = load_chat_format(tokenizer, chat_format)
        self.compute = compute
        self.settings = settings
        self.trunk = Trunk(model.base_model, compute)
        notes = getattr(model.config, "camelid", {})
        self.score_mean = float(notes.get("score_mean", 0.0))
        self.score_std = float(notes.get("score_std", 1.0))
        self.temperature = float(notes.get("temperature", 1.0))
        self.updater: Updater | None = None
        self.path: Path | None = None  # of the language model that it was made from

    @classmethod
    def load(cls, path: Path, settings: ModelSettings | None = None, chat_format: str = "model") -> RewardModel:
        """A trained reward model, to score with."""
        settings = settings or ModelSettings()
        compute = choose_compute(settings.precision)
        adapter = read_adapter(path) if is_adapter(path) else None
        may_lack = ["score.weight"] if adapter and adapter.head is not None else []  # the adapter brings the head
        num_layers = adapter.notes.get("num_layers") if adapter else None
        model, tokenizer = load_scoring_network(path, compute, compute.dtype, num_layers=num_layers, may_lack=may_lack)
        if adapter:
            model.config.camelid = adapter.score_notes
        model.requires_grad_(False)
        return cls(model, tokenizer, compute, settings, chat_format)

    @classmethod
    def create(
        cls,
        path: Path,
        settings: ModelSettings,
        optimizer: OptimizerSettings,
        *,
        num_layers: int | None,
        seed: int,
        chat_format: str = "model",
    ) -> RewardModel:
        """A new reward model on the trunk of the language model at `path`, cut after `num_layers` (None: whole).

        The head is drawn from N(0, 1/sqrt(d + 1)) (N implementation details, reward model 2).
        """
        compute = choose_compute(settings.precision)
        dtype = compute.dtype if settings.lora_rank else torch.float32
        given_adapter(path, settings)
        model, tokenizer = load_scoring_network(path, compute, dtype, num_layers=num_layers, may_lack=["score.weight"])
        reward = cls(model, tokenizer, compute, settings, chat_format)
        # Whatever a reward model's folder says of its own head.
        reward.score_mean, reward.score_std, reward.temperature = 0.0, 1.0, 1.0
        prepare_training(model, settings, seed)
        width = model.config.hidden_size
        weight = torch.randn(1, width, generator=torch.Generator().manual_seed(seed)) / math.sqrt(width + 1)
        model.score = nn.Linear(width, 1, bias=False).to(compute.device)
        model.score.weight.data.copy_(weight)
        reward.path = path
        reward.updater = Updater(trained_parameters(model), optimizer)
        return reward

    def compile_for(self, tokens: float) -> None:
        """Compile the layers where training on so many tokens pays for it (`ModelSettings.compile`)."""
        compile_where_it_pays(self.model, self.settings, tokens)

    def row(self, messages: Sequence[Message], completion: str, max_tokens: int | None = None) -> Row:
        """A whole conversation as the tokens that the reward model reads."""
        whole = (*messages, Message(role="assistant", content=completion))
        rendered = self.chat.render(whole, train_on="last", max_tokens=max_tokens)
        return Row(rendered.ids, rendered.loss_mask)

    @torch.no_grad()
    def score(self, rows: Sequence[Row], tick: Callable[[int], None] = lambda rows: None) -> Tensor:
        """Standardised scores (N,) float32 on the CPU."""
        scores = torch.zeros(len(rows))
        for batch in make_batches([[row] for row in rows], self.settings.micro_batch_tokens, self.compute.device):
            scores[batch.rows] = self._forward(batch).cpu()
            tick(len(batch.rows))
        return (scores - self.score_mean) / self.score_std

    def forward_backward(self, groups: Sequence[Sequence[Row]], loss: ScoreLoss) -> dict[str, float]:
        """Add the gradient of the summed loss over groups of rows, such as a pair. Returns `loss`, its logs, `count`.

        The rows of a group come to `loss` together; `step` divides the gradient by the count, once.
        """
        totals: dict[str, float] = {"loss": 0.0, "count": 0.0}
        found = []
        for batch in make_batches(groups, self.settings.micro_batch_tokens, self.compute.device):
            scores = self._forward(batch).cpu()  # a few numbers; the loop's margins need not know of devices
            result = loss(scores, torch.tensor(batch.rows))
            result.sum.backward()
            found.append(Sums(batch.rows, {"loss": result.sum, "count": result.count} | result.logs))
        for numbers in read_at_once(found):
            for name, number in numbers.items():
                totals[name] = totals.get(name, 0.0) + number
        count = totals.pop("count")
        return {name: value / count for name, value in totals.items()} | {"count": count}

    def step(self, learning_rate: float, count: float) -> float:
        """One optimizer update with the gradients divided by `count`. Returns their norm before clipping."""
        return self._training().step(learning_rate, count)

    def raw(self, scores: Tensor) -> Tensor:
        """Scores (any shape) as they were trained, before standardising: in logits."""
        return scores * self.score_std + self.score_mean

    def preference_logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Their sigmoid is the probability that the first of two scores' answers is preferred (Bradley-Terry).

        `first`, `second`: scores, any shape. The temperature was fitted on held-out pairs.
        """
        return (first - second) * self.score_std / self.temperature

    def standardise_on(self, scores: Tensor) -> None:
        """From now on scores have mean 0 and standard deviation 1 where they now are `scores` (N,), N > 1."""
        raw = self.raw(scores)
        self.score_mean, self.score_std = raw.mean().item(), max(raw.std().item(), 1e-6)

    def shift_to(self, scores: Tensor) -> None:
        """From now on scores have mean 0 where they now are `scores` (N,), and the unit that they were trained in.

        InstructGPT's bias, with which demonstrations score 0 on average (arXiv:2203.02155, section 3.5).
        """
        self.score_mean, self.score_std = self.raw(scores).mean().item(), 1.0

    def save_state(self, folder: Path) -> None:
        """Everything that training changes, exactly."""
        save_state(folder, "reward", self._training().state(), {})

    def load_state(self, folder: Path) -> None:
        """Put back what `save_state` wrote."""
        self._training().restore(load_state(folder, "reward")[0])

    def save(self, folder: Path, card: str) -> None:
        """The merged model; SCORE_NOTES stand in its config under `camelid`.

        With `save_adapter` in the settings its adapters and head go into a folder `adapter` beside it.
        """
        self.tokenizer.chat_template = self.chat.template
        notes = {name: getattr(self, name) for name in SCORE_NOTES}
        save_reward_model(
            self.model,
            self.tokenizer,
            folder,
            card=card,
            dtype=self.compute.dtype,
            pad_id=self.chat.pad_id,
            notes=notes,
        )
        if self.settings.save_adapter and self.path is not None:
            more = {"num_layers": self.model.config.num_hidden_layers, "pad_id": self.chat.pad_id}
            save_adapter_beside(folder, self.model, self.tokenizer, base=self.path, card=card, notes=notes | more)

    def _forward(self, batch: Batch) -> Tensor:
        """Raw scores (number of rows,) float32, in the order of `batch.rows`."""
        hidden = self.trunk.hidden(batch)
        last = send(torch.tensor(batch.segment_lengths).cumsum(0) - 1, hidden.device)
        return torch.nn.functional.linear(hidden[0, last].float(), self.model.score.weight.float())[:, 0]

    def _training(self) -> Updater:
        if self.updater is None:
            raise ValueError("this reward model was loaded for scoring; use RewardModel.create")
        return self.updater


def load_scoring_network(
    path: Path, compute: Compute, dtype: torch.dtype, *, num_layers: int | None = None, may_lack: Collection[str] = ()
) -> tuple[Any, Any]:
    """A trunk with one score and its tokenizer, cut after `num_layers` (None: whole)."""
    config = AutoConfig.from_pretrained(weights_folder(path), trust_remote_code=False)
    config.num_labels = 1
    if num_layers is not None:
        if not 1 <= num_layers <= config.num_hidden_layers:
            raise ValueError(f"num_layers = {num_layers}, but the model has {config.num_hidden_layers} layers")
        config.num_hidden_layers = num_layers
    model = load_pretrained(AutoModelForSequenceClassification, path, compute, dtype, config=config, may_lack=may_lack)
    return model, AutoTokenizer.from_pretrained(tokenizer_folder(path), trust_remote_code=False)
