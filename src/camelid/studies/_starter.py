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


class Files(NamedTuple):
    """The starter set, read."""

    prompts: Output
    """To practise on; none is an evaluation prompt."""
    evaluation: Output
    preferences: Output


class Starter(NamedTuple):
    """What there is before a study's arms part."""

    files: Files
    policy: Output
    samples: Output
    """Pairs of the policy's answers."""


def read_rows(cells: Cells, name: str, settings: ImportSettings, *files: Input) -> Output:
    """Rows of files, without those that repeat an evaluation prompt."""
    inputs: dict[str, list[Input]] = {"data": list(files)}
    if files != (EVALUATION,):
        inputs["exclude"] = [EVALUATION]
    return Output(cells.add(f"data/{name}", import_data, settings, **inputs), "rows.jsonl")


def starter_files(cells: Cells) -> Files:
    """Prompts and preferences of the starter set."""
    asked, pairs_of = ImportSettings(kind="prompts"), STARTER / "preferences.jsonl"
    return Files(
        prompts=read_rows(cells, "prompts", asked, STARTER / "rollout_prompts.jsonl", pairs_of),
        evaluation=read_rows(cells, "evaluation-prompts", asked, EVALUATION),
        preferences=read_rows(cells, "preferences", ImportSettings(kind="preferences"), pairs_of),
    )


def starter(cells: Cells, start: Input, folder: Path, s: StarterSettings) -> Starter:
    """The files and the policy, trained once for all arms and seeds."""
    files = starter_files(cells)
    shown = read_rows(cells, "demonstrations", s.demonstrations, folder / "conversations/alpaca_random_9k.json")
    policy = Output(cells.add("sft", train_sft, s.sft, model=start, demonstrations=shown), "model")
    return Starter(files, policy, answers_of(cells, policy, files, s.pairs))


def answers_of(cells: Cells, policy: Input, files: Files, s: PairSettings) -> Output:
    """Pairs of a policy's answers, on which reward models bring their scores to mean 0 and standard deviation 1."""
    made = cells.add("pairs", sample_pairs, s, model=policy, other_model=policy, prompts=files.prompts)
    return Output(made, "comparisons.jsonl")


def halves(cells: Cells, files: Files) -> tuple[Output, Output]:
    """The preferences in two halves; no prompt of the one is in the other."""
    split = cells.add("halves", split_fold, FoldSettings(folds=2), preferences=files.preferences)
    return Output(split, "train.jsonl"), Output(split, "test.jsonl")


def reward_model_of_half(
    cells: Cells, start: Input, files: Files, samples: Output, s: RewardSettings, half: int, *, seed: int = 0
) -> Output:
    """A reward model of one half of the preferences, 0 or 1."""
    reads = {"model": start, "preferences": halves(cells, files)[half], "samples": samples}
    settings = s.model_copy(update={"seed": seed})
    return Output(cells.add(f"reward/half-{half}-seed-{seed}", train_reward, settings, **reads), "model")
