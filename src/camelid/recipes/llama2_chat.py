"""LLaMA-2-Chat: two reward models, five versions by rejection sampling, PPO on top of the last (arXiv:2307.09288).

SFT; then, five times: pairs of the two newest versions' answers are judged, a helpfulness and a safety reward model are
retrained on all verdicts (mixtures, margins, the safety loss), the temperature of rejection sampling is tuned, the best
of K answers of all rounds are scored anew, and the base model is fine-tuned on them and on the demonstrations. From
the fourth round on with Ghost Attention's dialogues and answers distilled from safety preprompts; in the fifth with
PPO. Every version is evaluated, and all of them are placed by helpfulness and safety, by the reward models and by a
judge that training never saw. The version is chosen by reward, the judge is asked to confirm it.

    camelid run llama2-chat --set start_model=path/to/model --set 'data.demonstrations=["mine.jsonl"]'

The settings are the paper's for full weights of 7B where it names them, and need GPUs; `llama2-chat-tiny` runs on two
cores. What differs from the paper:
- A scripted annotator (reward models on verdicts that nothing else sees) or an AI judge in place of people. Nobody
  writes prompts: those of the data are sampled again in every round.
- The paper fine-tunes on the ranked samples; whether its demonstrations were among them it does not say. Here they are.
- K of rejection sampling is not published: 16. Temperatures are tried from 0.8 to 1.4; the paper saw 1.2 to 1.3 chosen.
- Up to V3 the paper's rounds forgot those before them. All of ours have the pool that mended it.
- Which versions had safety context distillation it does not say; ours begin with V4, as Ghost Attention does.
- The gate's threshold is that at which the round's own safety model has the paper's precision, not 0.15.
- One size: `smaller_models` are fine-tuned on the last round's samples, as the paper's smaller ones were on the 70B's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

import camelid
from camelid.annotate.hold_back import HoldBackSettings, hold_back
from camelid.annotate.pairs import PairSettings
from camelid.collect.context_distillation import DistillationSettings
from camelid.collect.ghost_attention import GhostSettings
from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.path import PathSettings, measure_path
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.evaluate.version import EvaluateSettings
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.rounds import Changes, Loop, RoundSettings, evaluation, reward_stages, round_stages, settings_of, told
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train import ppo, reward
from camelid.train.pool import PoolSettings
from camelid.train.rejection import BestSettings
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft
from camelid.train.temperature import TemperatureSettings

STARTER = Path(camelid.__file__).parent / "starter"
REWARD = reward.PRESETS["llama-2-helpfulness"]
SFT = SftSettings(
    model=ModelSettings(lora_rank=0), learning_rate=2e-5, batch_size=64, epochs=2, max_tokens=4096, warmup_steps=10
)


class DataSettings(BaseModel):
    """Where the data comes from. Relative paths are looked up in `folder`; the starter set comes with the package."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    demonstrations: list[Path] = [STARTER / "demonstrations.jsonl"]
    """Conversations to imitate."""
    preferences: list[Path] = [STARTER / "preferences.jsonl"]
    """Pairs with a verdict that say what it is on, helpfulness or safety, and tag unsafe prompts."""
    safety_preferences: list[Path] = [Path("preferences/hh_harmless_1800.jsonl.gz")]
    """Pairs with a verdict on harm, all of their prompts taken for unsafe: people's, of HH. May be empty."""
    judgements: list[Path] = [
        Path(f"preferences/alpaca_eval_gpt4/{name}.json") for name in ("alpaca-7b", "vicuna-13b", "falcon-7b-instruct")
    ]
    """AlpacaEval's files of verdicts on helpfulness: GPT-4's. May be empty."""
    prompts: list[Path] = [STARTER / "rollout_prompts.jsonl", STARTER / "preferences.jsonl"]
    """Prompts that are answered in every round, tagged where they are unsafe; of preferences, only the prompts."""
    evaluation_prompts: list[Path] = [STARTER / "evaluation_prompts.jsonl"]
    """Prompts of the evaluation, tagged helpful, unsafe or borderline. No training row may repeat one."""


class Llama2Chat(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run."""
    start_model: str = "smollm2-135m"
    """The model that every version is fine-tuned from: a known name, a local folder, a Hugging Face id."""
    data: DataSettings = DataSettings()
    """Files."""
    preferences: ImportSettings = ImportSettings(kind="preferences")
    """How `data.preferences` are read."""
    safety_preferences: ImportSettings = ImportSettings(kind="preferences", about="safety", tags=("unsafe",))
    """How `data.safety_preferences` are read."""
    judgements: JudgementSettings = JudgementSettings(max_rows=0)
    """How `data.judgements` are read."""
    hold_back: HoldBackSettings = HoldBackSettings(annotator_share=0.25, judge_share=0.25)
    """What of each source of verdicts is kept for the annotator and the judge."""
    demonstrate: HoldBackSettings = HoldBackSettings(
        annotator_share=0.25, judge_share=0.25, demonstrate=("helpfulness", "safety")
    )
    """The same of `data.preferences`, whose better answers are good enough to be imitated, too."""
    sft: SftSettings = SFT
    """Supervised fine-tuning."""
    judge: RewardSettings = REWARD
    """The evaluation's judge: a reward model on held-back verdicts."""
    annotator: RewardSettings = REWARD
    """The scripted annotator: two reward models on other held-back verdicts."""
    alarm: RewardSettings = REWARD
    """A general reward model on the open verdicts alone, which watches PPO (section 3.4.1)."""
    rounds: int = Field(default=5, ge=1)
    """Versions."""
    round: RoundSettings = RoundSettings(
        pairs=PairSettings(),
        reward=REWARD,
        safety_coef=reward.PRESETS["llama-2-safety"].safety_coef,
        two_reward_models=True,
        mixtures=True,
        temperature=TemperatureSettings(
            temperatures=(0.8, 1.0, 1.2, 1.3, 1.4), best_of=16, num_samples=32, sampling=Sampling(max_new_tokens=1024)
        ),
        best=BestSettings(num_samples=16, sampling=Sampling(max_new_tokens=1024)),
        pool=PoolSettings(best_a_prompt=1),
        ghost=GhostSettings(),
        ghost_from=4,
        distilled=DistillationSettings(),
        distilled_from=4,
        reject=SFT,
        ppo=ppo.PRESETS["llama-2"],
        ppo_from=5,
    )
    """A round's stages."""
    changes: Changes = Field(default={})
    """Settings of `round` that change with a round and stay so, such as {"3": ["best.max_prompts=99"]}. The report says
    so, and each stage's manifest has its own."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """The evaluation of each version."""
    smaller_models: tuple[str, ...] = ()
    """Models that are fine-tuned on the last round's samples at the end: distillation from this size to theirs."""


def stages(s: Llama2Chat) -> list[Stage]:
    """The recipe's stages, in order."""
    start = resolve_model(s.start_model)
    result: list[Stage] = []
    prompts = ImportSettings(kind="prompts")
    evaluation_prompts = _bring_in(result, "evaluation-prompts", prompts, s.data.evaluation_prompts, s.data)
    rollouts = _bring_in(result, "prompts", prompts, s.data.prompts, s.data)
    demonstrations: list[Input] = [
        _bring_in(result, "demonstrations", ImportSettings(), s.data.demonstrations, s.data),
        Output("data/preferences-held-back", "chosen.jsonl"),
    ]
    sources = verdicts(s, result)

    def part(name: str) -> list[Input]:
        return [Output(f"{source}-held-back", f"{name}.jsonl") for source in sources]

    result.append(Stage("judge", train_reward, s.judge, {"model": start, "preferences": part("judge")}))
    annotator: dict[str, Input] = {}
    if s.round.annotate_by == "scripted":
        learn_from: dict[str, Input | Sequence[Input]] = {"model": start, "preferences": part("annotator")}
        training, annotator = reward_stages("annotator", s.round, s.annotator, learn_from)
        result += training
    result.append(Stage("alarm", train_reward, s.alarm, {"model": start, "preferences": part("train")}))
    sft = Output("sft", "model")
    loop = Loop(
        start=start,
        base=start,
        chat=sft,
        annotator=annotator,
        judge=Output("judge", "model"),
        prompts=rollouts,
        evaluation_prompts=[evaluation_prompts],
        preferences=part("train"),
        demonstrations=demonstrations,
        alarm=Output("alarm", "model"),
        previous=sft,
        newest=sft,
    )
    result.append(Stage("sft", train_sft, s.sft, {"model": start, "demonstrations": demonstrations}))
    result.append(evaluation("evaluate-sft", "sft", sft, loop, s.evaluate))
    for number in range(1, s.rounds + 1):
        result += round_stages(number, loop, settings_of(number, s.round, s.changes), s.evaluate)
    result += conclusion(s, loop)
    everything = [Output(stage.name, "") for stage in result]
    report = ReportSettings(title="llama2-chat", notes=told(s.changes))
    result.append(Stage("report", write_run_report, report, {"stages": everything}))
    return reseeded(result, s.seed)


def verdicts(s: Llama2Chat, result: list[Stage]) -> list[str]:
    """Stages that read each source of verdicts and hold parts of it back; the sources' names."""
    _bring_in(result, "preferences", s.preferences, s.data.preferences, s.data)
    sources = {"data/preferences": s.demonstrate}
    if s.data.safety_preferences:
        _bring_in(result, "safety-preferences", s.safety_preferences, s.data.safety_preferences, s.data)
        sources["data/safety-preferences"] = s.hold_back
    if s.data.judgements:
        files = [s.data.folder / file for file in s.data.judgements]
        result.append(Stage("data/judgements", import_judgements, s.judgements, {"judgements": files}))
        sources["data/judgements"] = s.hold_back
    for name, settings in sources.items():
        rows = Output(name, "train.jsonl" if name == "data/judgements" else "rows.jsonl")
        result.append(Stage(f"{name}-held-back", hold_back, settings, {"preferences": rows}))
    return list(sources)


def conclusion(s: Llama2Chat, loop: Loop) -> list[Stage]:
    """Stages that place all versions by the last reward models and the judge, and fine-tune smaller models."""
    names = tuple(_version(name) for name in loop.answers)
    settings = PathSettings(versions=names, model=s.evaluate.model, chat_format=s.evaluate.chat_format)
    found = [Stage("path", measure_path, settings, {**loop.rewards, "answers": list(loop.answers.values())})]
    for name in s.smaller_models:
        inputs: dict[str, Input | Sequence[Input]] = {"model": resolve_model(name), "demonstrations": loop.imitated}
        found.append(Stage(f"smaller/{Path(name).name}", train_sft, s.round.reject, inputs))
    return found


def _version(evaluated: str) -> str:
    """As the paper has it: V1 for round-1/reject, V5 (PPO) for round-5/ppo."""
    number, _, step = evaluated.removeprefix("round-").partition("/")
    return evaluated if not step else f"V{number}" + (" (PPO)" if step == "ppo" else "")


def _bring_in(
    result: list[Stage], name: str, settings: ImportSettings, files: list[Path], data: DataSettings
) -> Output:
    inputs = {"data": [data.folder / file for file in files]}
    if files != data.evaluation_prompts:
        inputs["exclude"] = [data.folder / file for file in data.evaluation_prompts]
    result.append(Stage(f"data/{name}", import_data, settings, inputs))
    return Output(f"data/{name}", "rows.jsonl")
