"""Iterated RLHF: sample pairs from the newest versions, have them judged, retrain the reward models on all verdicts,
keep the best of K, fine-tune, PPO, evaluate; and again with what came out (LLaMA-2, arXiv:2307.09288, section 3.2.3).

A round is a list of stages: nothing here runs anything, so a plan can be printed, changed and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from camelid import settings_text
from camelid.annotate.judge import JudgeSettings, annotate_by_judge
from camelid.annotate.pairs import PairSettings, sample_pairs
from camelid.annotate.scripted import ScriptedSettings, annotate_by_reward_model
from camelid.collect.context_distillation import DistillationSettings, context_distillation
from camelid.collect.ghost_attention import GhostSettings, ghost_attention
from camelid.curate import mix as mixing
from camelid.evaluate.version import EvaluateSettings, evaluate_version
from camelid.runs import Input, Output, Stage
from camelid.train.pool import PoolSettings, pool_rounds
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft
from camelid.train.temperature import TemperatureSettings, choose_temperature

Inputs = dict[str, Input | Sequence[Input]]


class RoundSettings(BaseModel):
    """Settings of a round's stages, the same in every round. What is null is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pairs: PairSettings = PairSettings()
    """Pairs to be judged."""
    annotate_by: Literal["scripted", "judge"] = "scripted"
    """Who says which of a pair is better: the scripted annotator, or an AI judge behind a chat server."""
    annotator: ScriptedSettings = ScriptedSettings()
    """The scripted annotator."""
    judge: JudgeSettings = JudgeSettings()
    """The AI judge."""
    judge_question: Path | None = None
    """File with your own question to the judge, with {conversation}, {response_a} and {response_b}; none for ours."""
    reward: RewardSettings = RewardSettings()
    """The reward models, retrained each round on all verdicts so far."""
    safety_coef: float = Field(default=0.0, ge=0)
    """`reward.safety_coef` of the safety model, where there are two: LLaMA-2's auxiliary loss."""
    two_reward_models: bool = False
    """One for helpfulness and one for safety, as LLaMA-2 has them, instead of one for everything."""
    mixtures: bool = False
    """Each of two reward models learns from LLaMA-2's mixture of both kinds of verdicts (the stage `mix`), instead of
    those on prompts tagged unsafe and those on all others."""
    temperature: TemperatureSettings | None = None
    """The temperature of rejection sampling, tuned anew in every round."""
    best: BestSettings = BestSettings()
    """Best of K."""
    pool: PoolSettings | None = None
    """The best of all rounds, scored by the newest reward models; null fine-tunes on all of them as they are."""
    ghost: GhostSettings | None = None
    """Ghost Attention's dialogues, held by the newest version."""
    ghost_from: int = Field(default=4, ge=1)
    """The first round with them; LLaMA-2 began after its third version."""
    distilled: DistillationSettings | None = None
    """Safety context distillation with the newest version; wants two reward models."""
    distilled_from: int = Field(default=4, ge=1)
    """The first round with it."""
    reject: SftSettings = SftSettings()
    """Fine-tuning on the best of all rounds."""
    ppo: PpoSettings = PpoSettings()
    """PPO."""
    ppo_from: int = Field(default=1, ge=1)
    """The first round with PPO on top; LLaMA-2 had it in its fifth alone."""


Changes = dict[int, tuple[str, ...]]
"""Settings that change with a round and stay so, as text: {3: ("best.max_prompts=99",)}."""


def settings_of(number: int, s: RoundSettings, changes: Changes) -> RoundSettings:
    """The settings of round `number`. Raises ValueError for a change that is none of a round's settings."""
    changed = [text for first, texts in sorted(changes.items()) if first <= number for text in texts]
    return settings_text.change(s, changed) if changed else s


def told(changes: Changes) -> tuple[str, ...]:
    """The changes in words, for the report."""
    return tuple(f"From round {first} on: {', '.join(texts)}." for first, texts in sorted(changes.items()))


@dataclass
class Loop:
    """What the rounds so far have left, growing round by round."""

    start: Input
    """The model that everything started from; KL and win rates are against it."""
    base: Input
    """The model that every round fine-tunes anew: LLaMA-2 restarts from the base, the quickstart from the SFT model."""
    chat: Input
    """The model that reward models begin from, one that has learnt the chat format."""
    annotator: dict[str, Input]
    """The scripted annotator's reward models, as inputs of its stage; none where an AI judge annotates."""
    judge: Input
    prompts: Input
    evaluation_prompts: Sequence[Input]
    preferences: list[Input]
    demonstrations: list[Input] = field(default_factory=list)
    """What every round imitates besides the best of its samples; needed where `base` was not fine-tuned on it."""
    alarm: Input | None = None
    """A reward model that PPO is watched by and never trained on."""
    best: list[Input] = field(default_factory=list)
    newest: Input | None = None
    previous: Input | None = None
    rewards: dict[str, Input] = field(default_factory=dict)
    """The newest reward models, as inputs of what scores with them."""
    imitated: list[Input] = field(default_factory=list)
    """What the newest version was fine-tuned on."""
    answers: dict[str, Output] = field(default_factory=dict)
    """answers.jsonl of every evaluated version, in order."""


def round_stages(number: int, loop: Loop, s: RoundSettings, evaluate: EvaluateSettings) -> list[Stage]:
    """The stages of round `number`, from 1; moves `loop` on."""
    assert loop.newest is not None and loop.previous is not None
    at = f"round-{number}"
    s = _drawn_anew(s, number)

    models: Inputs = {"model": loop.newest, "other_model": loop.previous}
    pairs = Output(f"{at}/pairs", "comparisons.jsonl")
    stages = [
        Stage(f"{at}/pairs", sample_pairs, s.pairs, models | {"prompts": loop.prompts}),
        annotation(f"{at}/preferences", pairs, loop, s),
    ]
    loop.preferences.append(Output(f"{at}/preferences", "preferences.jsonl"))
    stages += reward_models(at, loop, s, samples=pairs)
    stages += best_answers(at, loop, s)
    best = loop.best if s.pool is None else [Output(f"{at}/pool", "pool.jsonl")]
    loop.imitated = [*loop.demonstrations, *best]
    for stage in own_demonstrations(number, at, loop, s):
        stages.append(stage)
        loop.imitated.append(Output(stage.name, "demonstrations.jsonl"))

    trained = Output(f"{at}/reject", "model")
    stages += [
        Stage(f"{at}/reject", train_sft, s.reject, {"model": loop.base, "demonstrations": loop.imitated}),
        evaluation(f"{at}/evaluate-reject", f"{at}/reject", trained, loop, evaluate),
    ]
    if number >= s.ppo_from:
        practice: Inputs = {**loop.rewards, "prompts": loop.prompts, "model": trained}
        if loop.alarm is not None:
            practice["alarm_model"] = loop.alarm
        if s.ppo.scoring.two_models == "gate":
            practice["gate"] = Output(f"{at}/reward-safety", "accuracy.json")
        trained = Output(f"{at}/ppo", "model")
        stages += [
            Stage(f"{at}/ppo", train_ppo, s.ppo, practice),
            evaluation(f"{at}/evaluate-ppo", f"{at}/ppo", trained, loop, evaluate),
        ]
    loop.previous, loop.newest = loop.newest, trained
    return stages


def _drawn_anew(s: RoundSettings, number: int) -> RoundSettings:
    """The same settings draw other prompts and samples in every round; what is fine-tuned begins alike."""
    drawing = {name: getattr(s, name) for name in ("pairs", "temperature", "best", "ghost", "distilled", "ppo")}
    return s.model_copy(
        update={name: x.model_copy(update={"seed": x.seed + number}) for name, x in drawing.items() if x is not None}
    )


def annotation(name: str, comparisons: Input, loop: Loop, s: RoundSettings) -> Stage:
    """Stage that turns comparisons into preferences. Raises ValueError if the annotator that `s` names is not there."""
    inputs: Inputs = {"comparisons": comparisons}
    if s.annotate_by == "judge":
        if s.judge_question is not None:
            inputs["question"] = s.judge_question
        return Stage(name, annotate_by_judge, s.judge, inputs)
    if not loop.annotator:
        raise ValueError("this recipe trains no scripted annotator; set round.annotate_by=judge")
    return Stage(name, annotate_by_reward_model, s.annotator, inputs | loop.annotator)


def reward_models(at: str, loop: Loop, s: RoundSettings, *, samples: Input) -> list[Stage]:
    """The stages that retrain the reward models on all verdicts so far, on the scale of the newest samples."""
    learn_from: Inputs = {"model": loop.chat, "preferences": list(loop.preferences), "samples": samples}
    stages, loop.rewards = reward_stages(f"{at}/reward", s, s.reward, learn_from)
    return stages


def reward_stages(
    name: str, s: RoundSettings, settings: RewardSettings, inputs: Mapping[str, Input | Sequence[Input]]
) -> tuple[list[Stage], dict[str, Input]]:
    """The stages of one reward model or, with `two_reward_models`, of one for helpfulness and one for safety; and what
    scores with them takes as its inputs."""
    if not s.two_reward_models:
        return [Stage(name, train_reward, settings, inputs)], {"reward_model": Output(name, "model")}
    parts: dict[str, tuple[str, mixing.MixSettings, dict[str, Any]]] = {
        "reward_model": (name, mixing.HELPFULNESS, {"prompts": "other"}),
        "safety_reward_model": (f"{name}-safety", mixing.SAFETY, {"prompts": "unsafe", "safety_coef": s.safety_coef}),
    }
    stages = []
    for stage, mixture, own in parts.values():
        read = dict(inputs)
        if s.mixtures:
            stages.append(_mixture(f"{stage}-mixture", mixture, inputs["preferences"]))
            read["preferences"], own = Output(f"{stage}-mixture", "mixed.jsonl"), own | {"prompts": "all"}
        stages.append(Stage(stage, train_reward, settings.model_copy(update=own), read))
    return stages, {input: Output(stage, "model") for input, (stage, _, _) in parts.items()}


def _mixture(name: str, mixture: mixing.MixSettings, preferences: Any) -> Stage:
    """All files are every source: `only` tells the rows on helpfulness from those on safety."""
    return Stage(name, mixing.mix, mixture, {source: preferences for source in mixture.weights})


def best_answers(at: str, loop: Loop, s: RoundSettings) -> list[Stage]:
    """Stages that tune the temperature, take the best of K samples and pool them with those of earlier rounds."""
    assert loop.newest is not None
    practice: Inputs = {**loop.rewards, "prompts": loop.prompts, "model": loop.newest}
    stages = []
    if s.temperature is not None:
        stages.append(Stage(f"{at}/temperature", choose_temperature, s.temperature, practice))
        practice = practice | {"temperature": Output(f"{at}/temperature", "temperature.json")}
    stages.append(Stage(f"{at}/best", sample_best, s.best, practice))
    loop.best.append(Output(f"{at}/best", "best.jsonl"))
    if s.pool is not None:
        stages.append(Stage(f"{at}/pool", pool_rounds, s.pool, {**loop.rewards, "best": list(loop.best)}))
    return stages


def own_demonstrations(number: int, at: str, loop: Loop, s: RoundSettings) -> list[Stage]:
    """Stages by which the newest version writes demonstrations of keeping to instructions and of safety."""
    assert loop.newest is not None
    asked: Inputs = {"model": loop.newest, "prompts": loop.prompts}
    stages = []
    if s.ghost is not None and number >= s.ghost_from:
        stages.append(Stage(f"{at}/ghost", ghost_attention, s.ghost, asked))
    if s.distilled is not None and number >= s.distilled_from:
        if "safety_reward_model" not in loop.rewards:
            raise ValueError("safety context distillation is gated by a safety model: set two_reward_models=true")
        gate = {"safety_reward_model": loop.rewards["safety_reward_model"]}
        stages.append(Stage(f"{at}/distilled", context_distillation, s.distilled, asked | gate))
    return stages


def evaluation(name: str, version: str, model: Input, loop: Loop, settings: EvaluateSettings) -> Stage:
    """Stage that evaluates a version against the start and against the version before it."""
    inputs: Inputs = {"model": model, "judge": loop.judge, "prompts": list(loop.evaluation_prompts)}
    if loop.answers:
        versions = list(loop.answers.values())
        inputs |= {"start": versions[0], "previous": versions[-1], "start_model": loop.start}
    loop.answers[version] = Output(name, "answers.jsonl")
    return Stage(name, evaluate_version, settings.model_copy(update={"version": version}), inputs)
