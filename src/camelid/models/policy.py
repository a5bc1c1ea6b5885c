"""The language model that is trained: sample, logprobs, forward_backward, step. No loop sees a device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from camelid.models.batch import Batch, Row, make_batches
from camelid.models.chat import load_chat_format
from camelid.models.checkpointing import load_state, save_state
from camelid.models.compiling import compile_where_it_pays
from camelid.models.compute import Compute, choose_compute
from camelid.models.copies import Copies
from camelid.models.engine import Event
from camelid.models.engines import Outside
from camelid.models.loading import tokenizer_folder, weights_folder
from camelid.models.losses import Sums, read_at_once
from camelid.models.model_settings import ModelSettings
from camelid.models.new_tokens import check_end_of_turn
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.outputs import Loss, Outputs, head_entropies, head_outputs
from camelid.models.pretrained import check_architecture, load_pretrained
from camelid.models.residual_dropout import ResidualDropout
from camelid.models.rope import RopeScaling, scaled_config
from camelid.models.sampler import sample
from camelid.models.sampling import Sample, Sampling
from camelid.models.saving import save_adapter_beside, save_language_model
from camelid.models.trained import as_given, given_adapter, prepare_training, trained_parameters
from camelid.models.trunk import Trunk
from camelid.runs import derived_seed


class Policy:
    """A causal language model with its tokenizer and chat format."""

    def __init__(self, path: Path, model: Any, compute: Compute, settings: ModelSettings, chat_format: str):
        check_architecture(model)
        self.path = path
        # No dropout: rollout and training must see the same network. `add_residual_dropout` is for SFT.
        self.model = model.eval()
        tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(path), trust_remote_code=False)
        self.tokenizer = tokenizer
        self.chat_format = chat_format
        self.chat = load_chat_format(tokenizer, chat_format)
        self.compute = compute
        self.settings = settings
        self.trunk = Trunk(model.base_model, compute)
        self.value_head: nn.Linear | None = None
        self.reference: Policy | None = None
        self.updater: Updater | None = None
        self.value_updater: Updater | None = None
        self.residual_dropout: ResidualDropout | None = None
        self.updates = 0
        """How often the weights have changed."""
        self.outside = Outside()
        self.copies = Copies()

    @classmethod
    def load(
        cls,
        path: Path,
        settings: ModelSettings | None = None,
        chat_format: str = "model",
        *,
        rope_scaling: RopeScaling | None = None,
    ) -> Policy:
        """A policy to sample from and to score with; nothing of it trains."""
        settings = settings or ModelSettings()
        compute = choose_compute(settings.precision)
        policy = cls(path, _load(path, compute, compute.dtype, rope_scaling), compute, settings, chat_format)
        policy.model.requires_grad_(False)
        return policy

    @classmethod
    def load_for_training(
        cls,
        path: Path,
        settings: ModelSettings,
        optimizer: OptimizerSettings,
        *,
        seed: int,
        chat_format: str = "model",
        rope_scaling: RopeScaling | None = None,
    ) -> Policy:
        """A policy with adapters (or float32 weights, with rank 0) and an optimizer."""
        compute = choose_compute(settings.precision)
        dtype = compute.dtype if settings.lora_rank else torch.float32
        given = given_adapter(path, settings)
        model = _load(weights_folder(path) if given else path, compute, dtype, rope_scaling)
        policy = cls(path, model, compute, settings, chat_format)
        if settings.lora_rank:
            end = policy.chat.stop_ids[0]
            check_end_of_turn(policy.model.get_output_embeddings().weight, end, policy.tokenizer.decode([end]))
        prepare_training(policy.model, settings, seed, given)
        policy.updater = Updater(trained_parameters(policy.model), optimizer)
        return policy

    def add_value_head(self, optimizer: OptimizerSettings) -> None:
        """A linear value head on the shared trunk, zero at the start (N implementation details, policy 2)."""
        head = nn.Linear(self.model.config.hidden_size, 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.value_head = head.to(self.compute.device)
        self.value_updater = Updater(self.value_head.named_parameters(), optimizer)

    def add_residual_dropout(self, highest: float) -> None:
        """In `forward_backward` alone, drop what sublayers add: nothing in the first layer, `highest` in the last."""
        self.residual_dropout = ResidualDropout(self.model.base_model.layers, highest)

    def compile_for(self, tokens: float) -> None:
        """Compile the layers where training on so many tokens pays for it (`ModelSettings.compile`)."""
        if self.residual_dropout is None:
            compile_where_it_pays(self.model, self.settings, tokens)
        elif self.settings.compile == "always":
            raise ValueError(
                "residual dropout draws its own bits, which no compiled layer does: set model.compile=never"
            )

    # --- the four verbs ---

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        seed: int,
        num_samples: int = 1,
        tick: Callable[[int], None] = lambda rows: None,
        heard: Callable[[Event], None] = lambda event: None,
    ) -> list[list[Sample]]:
        """`num_samples` completions of each prompt, with their log-probabilities at the sampling temperature.

        `heard` hears of each token as it is drawn, by camelid's own engine only.
        """
        seeds = [[derived_seed(seed, index, k) for k in range(num_samples)] for index in range(len(prompts))]
        if sampling.engine.kind != "own":
            return self.outside.sample(self, prompts, sampling, seeds=seeds, tick=tick)
        with self.copies.applied(self, sampling):
            return sample(
                self.trunk,
                self.model.get_output_embeddings(),
                prompts,
                sampling,
                self.chat.stop_ids,
                seeds=seeds,
                tick=tick,
                heard=heard,
                decode=self.text_of,
            )

    @torch.no_grad()
    def logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> list[Tensor]:
        """Log-probabilities of each row's trained tokens, aligned with its ids: (T,) each, zero elsewhere."""
        result: dict[int, Tensor] = {}
        for batch in self._batches(rows):
            result.update(batch.unpack(self._outputs(batch, self.trunk.hidden(batch), temperature).logprobs))
        return [result[i] for i in range(len(rows))]

    @torch.no_grad()
    def outputs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> list[Outputs]:
        """As `logprobs`, with values and entropies; every field (T,)."""
        result: dict[int, Outputs] = {}
        for batch in self._batches(rows):
            hidden = self.trunk.hidden(batch)
            packed = self._outputs(batch, hidden, temperature)
            head = self.model.get_output_embeddings()
            entropies = dict(batch.unpack(head_entropies(batch, hidden, head, self.compute, temperature)))
            values = dict(batch.unpack(packed.values)) if packed.values is not None else {}
            for index, logprobs in batch.unpack(packed.logprobs):
                result[index] = Outputs(logprobs, values.get(index), entropies[index])
        return [result[i] for i in range(len(rows))]

    def forward_backward(
        self,
        rows: Sequence[Row],
        loss: Callable[[Batch, Outputs], Loss],
        *,
        temperature: float = 1.0,
        dropout_seeds: Sequence[int] = (),
    ) -> dict[str, float]:
        """Add the gradient of the summed loss over all rows. Returns `loss`, the logged means and `count`.

        However the rows fall into micro-batches, the gradient is the same sum: `step` divides it by the count, once.
        `dropout_seeds`: one a row, where residual dropout was added.
        """
        groups = [[row] for row in rows]
        return self.forward_backward_groups(groups, loss, temperature=temperature, dropout_seeds=dropout_seeds)

    def forward_backward_groups(
        self,
        groups: Sequence[Sequence[Row]],
        loss: Callable[[Batch, Outputs], Loss],
        *,
        temperature: float = 1.0,
        dropout_seeds: Sequence[int] = (),
    ) -> dict[str, float]:
        """As `forward_backward`, for a loss over groups of rows, such as pairs.

        The rows of a group come to `loss` side by side; `batch.rows` counts rows over all groups.
        """
        totals: dict[str, float] = {"loss": 0.0, "count": 0.0}
        found: list[Sums] = []
        # With dropout each row goes its own way from the first token on: there is nothing to share.
        alone = self.residual_dropout is not None
        for batch in make_batches(
            groups, self.settings.micro_batch_tokens, self.compute.device, share_beginnings=not alone
        ):
            with self._dropping(batch, dropout_seeds):
                result = loss(batch, self._outputs(batch, self.trunk.hidden(batch), temperature))
                result.sum.backward()
            found.append(Sums(batch.rows, {"loss": result.sum, "count": result.count} | result.logs))
        for numbers in read_at_once(found):
            for name, number in numbers.items():
                totals[name] = totals.get(name, 0.0) + number
        count = totals.pop("count")
        if count == 0:
            raise ValueError(f"no supervised token in a batch of {sum(map(len, groups))} rows")
        return {name: value / count for name, value in totals.items()} | {"count": count}

    def step(self, learning_rate: float, count: float, *, value_learning_rate: float = 0.0) -> float:
        """One optimizer update with the gradients divided by `count`. Returns their norm before clipping.

        Raises FloatingPointError on a gradient that is not finite; no weight has changed then.
        """
        norm = self._training().clip(count)
        if self.value_updater is not None:
            self.value_updater.clip(count)
            self.value_updater.update(value_learning_rate)
        self._training().update(learning_rate)
        self.updates += 1
        return norm

    # --- around them ---

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def reference_logprobs(self, rows: Sequence[Row], *, temperature: float = 1.0) -> list[Tensor]:
        """As `logprobs`, of the policy as it was before training: adapters off, or a frozen copy for full weights."""
        if self.settings.lora_rank:
            with as_given(self.model):
                return self.logprobs(rows, temperature=temperature)
        if self.reference is None:
            dtype = next(self.model.parameters()).dtype
            config = copy.deepcopy(self.model.config)  # not that on disk: positions may be scaled
            frozen = _load(self.path, self.compute, dtype, config=config).requires_grad_(False)
            self.reference = Policy(self.path, frozen, self.compute, self.settings, self.chat_format)
        return self.reference.logprobs(rows, temperature=temperature)

    def save_state(self, folder: Path) -> None:
        """Everything that training changes, exactly."""
        save_state(folder, "policy", self._training().state(), {})
        if self.value_updater is not None:
            save_state(folder, "value", self.value_updater.state(), {})

    def load_state(self, folder: Path) -> None:
        """Put back what `save_state` wrote."""
        self._training().restore(load_state(folder, "policy")[0])
        self.updates += 1
        if self.value_updater is not None:
            self.value_updater.restore(load_state(folder, "value")[0])

    def save(self, folder: Path, card: str) -> None:
        """The merged model in the layout that everybody expects, with the chat template that it was trained with.

        With `save_adapter` in the settings its adapters go into a folder `adapter` beside it.
        """
        self.tokenizer.chat_template = self.chat.template
        save_language_model(
            self.model,
            self.tokenizer,
            folder,
            card=card,
            dtype=self.compute.dtype,
            stop_ids=self.chat.stop_ids,
            pad_id=self.chat.pad_id,
        )
        if self.settings.save_adapter:
            save_adapter_beside(folder, self.model, self.tokenizer, base=self.path, card=card)

    def _batches(self, rows: Sequence[Row]) -> list[Batch]:
        return make_batches([[row] for row in rows], self.settings.micro_batch_tokens, self.compute.device)

    def _dropping(self, batch: Batch, seeds: Sequence[int]) -> AbstractContextManager[None]:
        if self.residual_dropout is None:
            return nullcontext()
        return self.residual_dropout.acting(batch.segment_lengths, [seeds[row] for row in batch.rows])

    def _outputs(self, batch: Batch, hidden: Tensor, temperature: float) -> Outputs:
        head = self.model.get_output_embeddings()
        return head_outputs(batch, hidden, head, self.value_head, self.compute, temperature)

    def _training(self) -> Updater:
        if self.updater is None:
            raise ValueError("this policy was loaded for sampling; use Policy.load_for_training")
        return self.updater


def _load(path: Path, compute: Compute, dtype: torch.dtype, scaling: RopeScaling | None = None, **more: Any) -> Any:
    if scaling is not None and scaling.type != "none":
        more["config"] = scaled_config(path, scaling)
    return load_pretrained(AutoModelForCausalLM, path, compute, dtype, **more)
