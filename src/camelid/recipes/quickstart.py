"""The whole loop on two cores: SFT, held-back judge and annotator, two rounds of rejection sampling and PPO, a report.

SmolLM2-135M goes through all of it in about 15 minutes without a GPU (docs/results.md).
What differs from LLaMA-2-Chat (arXiv:2307.09288): one reward model instead of two, a scripted annotator instead of
people, every round fine-tunes the SFT model anew and not the base, LoRA instead of full weights, hundreds of rows
instead of millions.

    camelid run quickstart
    camelid run quickstart --set data.preferences=my.jsonl --set start_model=path/to/model
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

import camelid
from camelid.annotate.hold_back import HoldBackSettings, hold_back
from camelid.annotate.pairs import PairSettings
from camelid.annotate.scripted import ScriptedSettings
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.evaluate.version import EvaluateSettings
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.rounds import Changes, Loop, RoundSettings, evaluation, reward_stages, round_stages, settings_of, told
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train.ppo import PpoSettings
from camelid.train.rejection import BestSettings
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings, train_sft

STARTER = Path(camelid.__file__).parent / "starter"
CHAT = "chatml"
"""ChatML without a default system prompt: SmolLM2's own puts another assistant's name into every conversation."""


TOKENS = 2048
"""Token budget of a micro-batch: on two cores 336 tokens/s of training, against 289 with 1,024."""
REWARD = RewardSettings(
    chat_format=CHAT,
    model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
    num_layers=10,
    learning_rate=1e-3,
    warmup_steps=2,
    held_out=40,
)
"""Ten of SmolLM2's thirty layers rank the starter set's pairs as well as twelve or fifteen (docs/log.md)."""


class DataSettings(BaseModel):
    """Where the data comes from: files in any format that `camelid data check` knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    demonstrations: list[Path] = [STARTER / "demonstrations.jsonl"]
    """Conversations to imitate."""
    preferences: list[Path] = [STARTER / "preferences.jsonl"]
    """Pairs with a verdict."""
    prompts: list[Path] = [STARTER / "rollout_prompts.jsonl", STARTER / "preferences.jsonl"]
    """Prompts on which the policy practises; of preferences, only the prompts are taken."""
    evaluation_prompts: list[Path] = [STARTER / "evaluation_prompts.jsonl"]
    """Prompts of the evaluation, tagged helpful, unsafe or borderline. No training row may repeat one."""


class Quickstart(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run: another draws everything anew, the parts that are held back included."""
    start_model: str = "smollm2-135m"
    """The model to begin with: a known name, a local folder, a Hugging Face id."""
    data: DataSettings = DataSettings()
    """Files."""
    demonstrations: ImportSettings = ImportSettings(kind="conversations")
    """How demonstrations are read."""
    preferences: ImportSettings = ImportSettings(kind="preferences")
    """How preferences are read."""
    hold_back: HoldBackSettings = HoldBackSettings(
        annotator_share=0.25, judge_share=0.35, demonstrate=("helpfulness", "safety")
    )
    """What is kept for the annotator and the judge, and whether the chosen answers of the rest are imitated, too."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=18, micro_batch_tokens=TOKENS),
        learning_rate=3e-3,
        batch_size=16,
        opening_epochs=2,
        opening_tokens=5,
        opening_weight=2,
        tag_weights={"refusal": 0.3, "unsafe": 0.3},
        epochs=0.5,
        warmup_steps=3,
        held_out=16,
    )
    """Supervised fine-tuning. The line between requests is learnt in the openings, the manner in whole answers."""
    judge: RewardSettings = REWARD
    """The evaluation's judge: a reward model on held-back preferences."""
    annotator: RewardSettings = REWARD
    """The scripted annotator: a reward model on other held-back preferences, or two of them as the rounds have."""
    rounds: int = 2
    """Rounds of RLHF after supervised fine-tuning."""
    round: RoundSettings = RoundSettings(
        pairs=PairSettings(
            chat_format=CHAT,
            sampling=Sampling(temperature=0.8, max_new_tokens=40),
            other_sampling=Sampling(temperature=1.0, max_new_tokens=40),
            max_prompts=32,
        ),
        annotator=ScriptedSettings(chat_format=CHAT),
        reward=REWARD,
        # So small a model writes badly at temperature 1, and would learn it from its own samples.
        best=BestSettings(
            chat_format=CHAT, num_samples=4, sampling=Sampling(temperature=0.7, max_new_tokens=72), max_prompts=32
        ),
        reject=SftSettings(
            chat_format=CHAT,
            model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
            learning_rate=3e-4,
            batch_size=8,
            epochs=1,
        ),
        ppo=PpoSettings(
            chat_format=CHAT,
            model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
            learning_rate=5e-4,
            num_iterations=3,
            batch_size=36,
            mini_batch_size=12,
            kl_coef=0.02,
            sampling=Sampling(max_new_tokens=36),
            scoring=ScoreSettings(unfinished_score=None),
        ),
    )
    """A round's stages."""
    changes: Changes = Field(default={})
    """Settings of `round` that change with a round and stay so, such as {"2": ["best.max_prompts=64"]}. The report says
    so, and each stage's manifest has its own."""
    evaluate: EvaluateSettings = EvaluateSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=36), kl_prompts=12
    )
    """The evaluation after every step."""


def stages(s: Quickstart) -> list[Stage]:
    """The recipe's stages, in order."""
    start = resolve_model(s.start_model)
    files = s.data
    evaluation_prompts: list[Input] = []
    result: list[Stage] = []

    def bring_in(name: str, settings: ImportSettings, data: list[Path], exclude: bool) -> Output:
        inputs: dict[str, list[Path]] = {"data": data} | ({"exclude": files.evaluation_prompts} if exclude else {})
        result.append(Stage(f"data/{name}", import_data, settings, inputs))
        return Output(f"data/{name}", "rows.jsonl")

    prompts = ImportSettings(kind="prompts")
    evaluation_prompts.append(bring_in("evaluation-prompts", prompts, files.evaluation_prompts, exclude=False))
    demonstrations = bring_in("demonstrations", s.demonstrations, files.demonstrations, exclude=True)
    preferences = bring_in("preferences", s.preferences, files.preferences, exclude=True)
    rollout_prompts = bring_in("prompts", prompts, files.prompts, exclude=True)
    result.append(Stage("data/held-back", hold_back, s.hold_back, {"preferences": preferences}))

    imitated = [demonstrations]
    if s.hold_back.demonstrate:
        imitated.append(Output("data/held-back", "chosen.jsonl"))

    judged: dict[str, Input] = {"model": start, "preferences": Output("data/held-back", "judge.jsonl")}
    result.append(Stage("judge", train_reward, s.judge, judged))
    annotator: dict[str, Input] = {}
    if s.round.annotate_by == "scripted":
        annotated: dict[str, Input] = {"model": start, "preferences": Output("data/held-back", "annotator.jsonl")}
        training, annotator = reward_stages("annotator", s.round, s.annotator, annotated)
        result += training
    loop = Loop(
        start=start,
        base=Output("sft", "model"),
        chat=Output("sft", "model"),
        annotator=annotator,
        judge=Output("judge", "model"),
        prompts=rollout_prompts,
        evaluation_prompts=evaluation_prompts,
        preferences=[Output("data/held-back", "train.jsonl")],
        previous=start,
        newest=Output("sft", "model"),
    )
    # The start is measured as it comes, in its own chat format; everything after it in the format it was trained in.
    as_it_comes = s.evaluate.model_copy(update={"chat_format": "model"})
    result.append(evaluation("evaluate-start", "start", start, loop, as_it_comes))
    result.append(Stage("sft", train_sft, s.sft, {"model": start, "demonstrations": imitated}))
    result.append(evaluation("evaluate-sft", "sft", Output("sft", "model"), loop, s.evaluate))
    for number in range(1, s.rounds + 1):
        result += round_stages(number, loop, settings_of(number, s.round, s.changes), s.evaluate)

    everything = [Output(stage.name, "") for stage in result]
    report = ReportSettings(title="quickstart", notes=told(s.changes))
    result.append(Stage("report", write_run_report, report, {"stages": everything}))
    return reseeded(result, s.seed)
