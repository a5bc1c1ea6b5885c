"""What studies on the starter set share: a policy that answers in few words, and reward models of the set's pairs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from camelid.annotate.pairs import PairSettings, sample_pairs
from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.folds import FoldSettings, split_fold
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import quickstart
from camelid.runs import Input, Output
from camelid.studies._cells import CHAT, TOKENS, Cells
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft

STARTER = quickstart.STARTER
EVALUATION = STARTER / "evaluation_prompts.jsonl"


class StarterSettings(BaseModel):
    """A policy and its reward models."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    demonstrations: ImportSettings = ImportSettings(max_words=50, max_rows=512)
    """Which of Alpaca's rows the policy learns from: short ones, for short answers are drawn in little time."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=3e-4,
        batch_size=16,
        epochs=1,
        warmup_steps=3,
    )
    """The policy: the start model, fine-tuned on them."""
    reward: RewardSettings = quickstart.REWARD.model_copy(update={"held_out": 0})
    """Reward models. Their scores are brought to mean 0 and standard deviation 1 on answers of the policy."""
    pairs: PairSettings = PairSettings(
        chat_format=CHAT,
        sampling=Sampling(temperature=0.8, max_new_tokens=40),
        other_sampling=Sampling(temperature=0.8, max_new_tokens=40),
        max_prompts=64,
    )
    """Those answers."""


class Starter(NamedTuple):
    """What there is before a study's arms part."""

    policy: Output
    prompts: Output
    """To practise on; none is an evaluation prompt."""
    evaluation: Output
    preferences: Output
    samples: Output
    """Pairs of the policy's answers."""


def starter(cells: Cells, start: Input, folder: Path, s: StarterSettings) -> Starter:
    """The policy, trained once for all arms and seeds, and the files."""

    def read(name: str, settings: ImportSettings, *files: Path) -> Output:
        inputs: dict[str, list[Input]] = {"data": list(files)}
        if files != (EVALUATION,):
            inputs["exclude"] = [EVALUATION]
        return Output(cells.add(f"data/{name}", import_data, settings, **inputs), "rows.jsonl")

    asked, pairs_of = ImportSettings(kind="prompts"), STARTER / "preferences.jsonl"
    shown = read("demonstrations", s.demonstrations, folder / "conversations/alpaca_random_9k.json")
    prompts = read("prompts", asked, STARTER / "rollout_prompts.jsonl", pairs_of)
    evaluation = read("evaluation-prompts", asked, EVALUATION)
    preferences = read("preferences", ImportSettings(kind="preferences"), pairs_of)
    policy = Output(cells.add("sft", train_sft, s.sft, model=start, demonstrations=shown), "model")
    pairs = cells.add("pairs", sample_pairs, s.pairs, model=policy, other_model=policy, prompts=prompts)
    return Starter(policy, prompts, evaluation, preferences, Output(pairs, "comparisons.jsonl"))


def reward_model_of_half(
    cells: Cells, start: Input, have: Starter, s: StarterSettings, half: int, *, seed: int = 0
) -> Output:
    """A reward model of one half of the preferences, 0 or 1; no prompt of the one half is in the other."""
    split = cells.add("halves", split_fold, FoldSettings(folds=2), preferences=have.preferences)
    file = ("train.jsonl", "test.jsonl")[half]
    reads = {"model": start, "preferences": Output(split, file), "samples": have.samples}
    settings = s.reward.model_copy(update={"seed": seed})
    return Output(cells.add(f"reward/half-{half}-seed-{seed}", train_reward, settings, **reads), "model")
