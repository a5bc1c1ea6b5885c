"""InstructGPT: rankings of K answers, a reward model of all their pairs, PPO with text mixed in (arXiv:2203.02155).

Supervised fine-tuning for many epochs, of which the checkpoint with the highest reward is taken and not the one with
the lowest validation loss; K answers a prompt put in order; a reward model that learns all pairs of a prompt at once,
its bias such that demonstrations score 0; PPO with and without text of pretraining in every mini-batch (PPO-ptx),
averaged weights, the KL's weight fixed. Every version is evaluated by a judge that training never saw, and the
likelihood of documents tells what alignment has cost.

    camelid run instructgpt --set start_model=path/to/model --set 'data.pretraining=["books.jsonl"]'

The settings are the paper's for full weights where it names them, and need GPUs; `instructgpt-tiny` runs on two cores.
What differs from the paper:
- A scripted annotator (a reward model on verdicts that nothing else sees) ranks in place of 40 people.
- The checkpoint of SFT is chosen by a reward model of open verdicts: that of the rankings needs the chosen model first.
- PPO begins at the chosen SFT model; the paper's began at one fine-tuned anew for 2 epochs with 10% pretraining text.
- The reward model and the value network that begins at it are of the policy's size, the paper's always 6B.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from camelid.annotate.hold_back import HoldBackSettings, hold_back
from camelid.annotate.rankings import RankSettings, rank_answers
from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.split_documents import SplitDocumentsSettings, split_documents
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.checkpoint_choice import ChoiceSettings, choose_checkpoint
from camelid.evaluate.long_context import PositionSettings, measure_positions
from camelid.evaluate.path import PathSettings, measure_path
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.evaluate.version import EvaluateSettings
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.recipes.quickstart import STARTER
from camelid.rounds import Loop, evaluation
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train import ppo, reward
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft

REWARD = reward.PRESETS["instructgpt"]


class DataSettings(BaseModel):
    """Where the data comes from. Relative paths are looked up in `folder`; the starter set comes with the package."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    demonstrations: list[Path] = [STARTER / "demonstrations.jsonl"]
    """Conversations to imitate."""
    preferences: list[Path] = [STARTER / "preferences.jsonl"]
    """Pairs with a verdict: for the annotator, the judge, and the reward model besides its rankings."""
    prompts: list[Path] = [STARTER / "rollout_prompts.jsonl", STARTER / "preferences.jsonl"]
    """Prompts whose answers are ranked, and on which the policy practises; of preferences, only the prompts."""
    pretraining: list[Path] = [Path("pretraining/c4_demo.jsonl")]
    """Documents like those of pretraining, JSON Lines with `text`."""
    evaluation_prompts: list[Path] = [STARTER / "evaluation_prompts.jsonl"]
    """Prompts of the evaluation, tagged helpful, unsafe or borderline. No training row may repeat one."""


class InstructGPT(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run."""
    start_model: str = "smollm2-135m"
    """The model to begin with: a known name, a local folder, a Hugging Face id."""
    data: DataSettings = DataSettings()
    """Files."""
    validation: HoldOutSettings = HoldOutSettings(held_out=64)
    """Demonstrations kept for the validation loss."""
    hold_back: HoldBackSettings = HoldBackSettings(annotator_share=0.3, judge_share=0.3)
    """What of the verdicts is kept for the annotator and the judge."""
    documents: SplitDocumentsSettings = SplitDocumentsSettings()
    """Documents kept to measure their likelihood on."""
    epochs: tuple[float, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    """Epochs of supervised fine-tuning, a run and a checkpoint each; the paper trained for 16."""
    sft: SftSettings = SftSettings(
        model=ModelSettings(lora_rank=0), learning_rate=9.65e-6, batch_size=32, residual_dropout=0.2, max_tokens=2048
    )
    """Supervised fine-tuning; its epochs are those above."""
    judge: RewardSettings = REWARD
    """The evaluation's judge: a reward model on held-back verdicts."""
    annotator: RewardSettings = REWARD
    """The scripted annotator: a reward model on other held-back verdicts."""
    choose: ChoiceSettings = ChoiceSettings()
    """Choice of the checkpoint."""
    rank: RankSettings = RankSettings(num_samples=9)
    """Rankings."""
    reward: RewardSettings = REWARD
    """The reward model of rankings and open verdicts."""
    ppo: PpoSettings = ppo.PRESETS["instructgpt"]
    """PPO; its text is mixed in where the name says ptx."""
    nll: PositionSettings = PositionSettings(window_tokens=512)
    """Likelihood of documents."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """The evaluation of each version."""


def stages(s: InstructGPT) -> list[Stage]:
    """The recipe's stages, in order."""
    start = resolve_model(s.start_model)
    result: list[Stage] = []
    evaluation_prompts, prompts = data_stages(s, result)
    verdicts = {part: Output("data/held-back", f"{part}.jsonl") for part in ("annotator", "judge", "train")}
    for name, settings, part in (
        ("judge", s.judge, "judge"),
        ("annotator", s.annotator, "annotator"),
        ("first-reward", s.reward, "train"),
    ):
        result.append(Stage(name, train_reward, settings, {"model": start, "preferences": verdicts[part]}))
    sft = fine_tuned(s, result, start, prompts)
    result += reward_model(s, sft, prompts, verdicts)

    loop = Loop(
        start=start,
        base=sft,
        chat=sft,
        annotator={},
        judge=Output("judge", "model"),
        prompts=prompts,
        evaluation_prompts=[evaluation_prompts],
        preferences=[],
    )
    practice: dict[str, Any] = {"model": sft, "reward_model": Output("reward", "model"), "prompts": prompts}
    text = {"pretraining": Output("data/documents", "train.jsonl")}
    versions = {"sft": sft, "ppo": Output("ppo", "model"), "ppo-ptx": Output("ppo-ptx", "model")}
    for name, model in versions.items():
        if name != "sft":
            inputs = practice | (text if name == "ppo-ptx" else {})
            result.append(Stage(name, train_ppo, s.ppo, inputs))
        result.append(evaluation(f"evaluate-{name}", name, model, loop, s.evaluate))
        held_out = Output("data/documents", "held-out.jsonl")
        result.append(Stage(f"nll-{name}", measure_positions, s.nll, {"model": model, "documents": held_out}))
    placed: dict[str, Input | Sequence[Input]] = {
        "answers": list(loop.answers.values()),
        "reward_model": Output("reward", "model"),
    }
    path = PathSettings(versions=tuple(versions), model=s.evaluate.model, chat_format=s.evaluate.chat_format)
    result.append(Stage("path", measure_path, path, placed))
    everything = [Output(stage.name, "") for stage in result]
    result.append(Stage("report", write_run_report, ReportSettings(title="instructgpt"), {"stages": everything}))
    return reseeded(result, s.seed)


def data_stages(s: InstructGPT, result: list[Stage]) -> tuple[Output, Output]:
    """Stages that read everything; the evaluation's prompts, and those to practise on."""
    exclude = [s.data.folder / file for file in s.data.evaluation_prompts]
    asked = ImportSettings(kind="prompts")
    for name, settings, files in (
        ("evaluation-prompts", asked, s.data.evaluation_prompts),
        ("prompts", asked, s.data.prompts),
        ("demonstrations", ImportSettings(), s.data.demonstrations),
        ("preferences", ImportSettings(kind="preferences"), s.data.preferences),
    ):
        inputs = {"data": [s.data.folder / file for file in files]}
        if name != "evaluation-prompts":
            inputs["exclude"] = exclude
        result.append(Stage(f"data/{name}", import_data, settings, inputs))
    documents = [s.data.folder / file for file in s.data.pretraining]
    rows = {name: Output(f"data/{name}", "rows.jsonl") for name in ("demonstrations", "preferences")}
    result += [
        Stage("data/validation", hold_out, s.validation, {"conversations": rows["demonstrations"]}),
        Stage("data/held-back", hold_back, s.hold_back, {"preferences": rows["preferences"]}),
        Stage("data/documents", split_documents, s.documents, {"documents": documents}),
    ]
    return Output("data/evaluation-prompts", "rows.jsonl"), Output("data/prompts", "rows.jsonl")


def fine_tuned(s: InstructGPT, result: list[Stage], start: Input, prompts: Input) -> Output:
    """Stages that fine-tune for each number of epochs and choose among them; the chosen model."""
    shown = Output("data/validation", "train.jsonl")
    for epochs in s.epochs:
        settings = s.sft.model_copy(update={"epochs": epochs})
        inputs = {"model": start, "demonstrations": shown}
        result.append(Stage(f"sft/epochs-{epochs:g}", train_sft, settings, inputs))
    choice: dict[str, Input | Sequence[Input]] = {
        "models": [Output(f"sft/epochs-{epochs:g}", "model") for epochs in s.epochs],
        "reward_model": Output("first-reward", "model"),
        "prompts": prompts,
        "demonstrations": Output("data/validation", "reference.jsonl"),
    }
    named = s.choose.model_copy(update={"names": tuple(f"{epochs:g} epochs" for epochs in s.epochs)})
    result.append(Stage("sft/chosen", choose_checkpoint, named, choice))
    return Output("sft/chosen", "model")


def reward_model(s: InstructGPT, sft: Input, prompts: Input, verdicts: dict[str, Output]) -> list[Stage]:
    """Stages that rank the model's answers and learn from all their pairs, and from the open verdicts."""
    ranking = {"model": sft, "reward_model": Output("annotator", "model"), "prompts": prompts}
    inputs = {
        "model": sft,
        "rankings": Output("rankings", "rankings.jsonl"),
        "preferences": verdicts["train"],
        "demonstrations": Output("data/validation", "train.jsonl"),
    }
    return [Stage("rankings", rank_answers, s.rank, ranking), Stage("reward", train_reward, s.reward, inputs)]
