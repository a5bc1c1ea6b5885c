"""Iterated RLHF: sample pairs from the newest versions, have them judged, retrain the reward model on all verdicts,
keep the best of K, fine-tune, PPO, evaluate; and again with what came out (LLaMA-2, arXiv:2307.09288, section 3.2.3).

A round is a list of stages: nothing here runs anything, so a plan can be printed, changed and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from camelid.annotate.judge import JudgeSettings, annotate_by_judge
from camelid.annotate.pairs import PairSettings, sample_pairs
from camelid.annotate.scripted import ScriptedSettings, annotate_by_reward_model
from camelid.evaluate.version import EvaluateSettings, evaluate_version
from camelid.runs import Input, Output, Stage
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft


class RoundSettings(BaseModel):
    """Settings of a round's stages, the same in every round."""

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
    two_reward_models: bool = False
    """One for helpfulness and one for prompts tagged unsafe, as LLaMA-2 has them, instead of one for everything."""
    best: BestSettings = BestSettings()
    """Best of K."""
    reject: SftSettings = SftSettings()
    """Fine-tuning on the best of all rounds."""
    ppo: PpoSettings = PpoSettings()
    """PPO."""


@dataclass
class Loop:
    """What the rounds so far have left, growing round by round."""

    start: Input
    """The model that everything started from; KL and win rates are against it."""
    base: Input
    """The model that every round fine-tunes anew; LLaMA-2 restarts from the base, here the SFT model."""
    annotator: dict[str, Input]
    """The scripted annotator's reward models, as inputs of its stage; none where an AI judge annotates."""
    judge: Input
    prompts: Input
    evaluation_prompts: Sequence[Input]
    preferences: list[Input]
    best: list[Input] = field(default_factory=list)
    newest: Input | None = None
    previous: Input | None = None
    answers: dict[str, Output] = field(default_factory=dict)
    """answers.jsonl of every evaluated version, in order."""


def evaluation(name: str, version: str, model: Input, loop: Loop, settings: EvaluateSettings) -> Stage:
    """Stage that evaluates a version against the start and against the version before it."""
    inputs: dict[str, Input | Sequence[Input]] = {
        "model": model,
        "judge": loop.judge,
        "prompts": list(loop.evaluation_prompts),
    }
    if loop.answers:
        versions = list(loop.answers.values())
        inputs |= {"start": versions[0], "previous": versions[-1], "start_model": loop.start}
    loop.answers[version] = Output(name, "answers.jsonl")
    return Stage(name, evaluate_version, settings.model_copy(update={"version": version}), inputs)


def annotation(name: str, comparisons: Input, loop: Loop, s: RoundSettings) -> Stage:
    """Stage that turns comparisons into preferences. Raises ValueError if the annotator that `s` names is not there."""
    inputs: dict[str, Input | Sequence[Input]] = {"comparisons": comparisons}
    if s.annotate_by == "judge":
        if s.judge_question is not None:
            inputs["question"] = s.judge_question
        return Stage(name, annotate_by_judge, s.judge, inputs)
    if not loop.annotator:
        raise ValueError("this recipe trains no scripted annotator; set round.annotate_by=judge")
    return Stage(name, annotate_by_reward_model, s.annotator, inputs | loop.annotator)


def reward_stages(
    name: str, settings: RewardSettings, inputs: Mapping[str, Input | Sequence[Input]], two: bool
) -> tuple[list[Stage], dict[str, Input]]:
    """The stages of one reward model or, with `two`, of one for helpfulness and one for safety; and what scores with
    them takes as its inputs."""
    if not two:
        return [Stage(name, train_reward, settings, inputs)], {"reward_model": Output(name, "model")}
    parts = {"reward_model": (name, "other"), "safety_reward_model": (f"{name}-safety", "unsafe")}
    stages = [
        Stage(stage, train_reward, settings.model_copy(update={"prompts": prompts}), inputs)
        for stage, prompts in parts.values()
    ]
    return stages, {input: Output(stage, "model") for input, (stage, _) in parts.items()}


def round_stages(number: int, loop: Loop, s: RoundSettings, evaluate: EvaluateSettings) -> list[Stage]:
    """The stages of round `number`, from 1; moves `loop` on."""
    assert loop.newest is not None and loop.previous is not None
    at = f"round-{number}"

    def seeded(settings):  # the same settings draw anew in every round
        return settings.model_copy(update={"seed": settings.seed + number})

    stages = [
        Stage(
            f"{at}/pairs",
            sample_pairs,
            seeded(s.pairs),
            {"model": loop.newest, "other_model": loop.previous, "prompts": loop.prompts},
        ),
        annotation(f"{at}/preferences", Output(f"{at}/pairs", "comparisons.jsonl"), loop, s),
    ]
    loop.preferences.append(Output(f"{at}/preferences", "preferences.jsonl"))
    learn_from = {
        "model": loop.base,
        "preferences": list(loop.preferences),
        "samples": Output(f"{at}/pairs", "comparisons.jsonl"),
    }
    training, rewards = reward_stages(f"{at}/reward", s.reward, learn_from, s.two_reward_models)
    practice = rewards | {"prompts": loop.prompts}
    stages += training
    stages.append(Stage(f"{at}/best", sample_best, seeded(s.best), practice | {"model": loop.newest}))
    loop.best.append(Output(f"{at}/best", "best.jsonl"))
    rejected, trained = Output(f"{at}/reject", "model"), Output(f"{at}/ppo", "model")
    stages += [
        Stage(f"{at}/reject", train_sft, s.reject, {"model": loop.base, "demonstrations": list(loop.best)}),
        evaluation(f"{at}/evaluate-reject", f"{at}/reject", rejected, loop, evaluate),
        Stage(f"{at}/ppo", train_ppo, seeded(s.ppo), practice | {"model": rejected}),
        evaluation(f"{at}/evaluate-ppo", f"{at}/ppo", trained, loop, evaluate),
    ]
    loop.previous, loop.newest = loop.newest, trained
    return stages
