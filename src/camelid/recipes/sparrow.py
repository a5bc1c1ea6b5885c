"""Sparrow: rules in plain language, a preference and a rule model as one reward, rerank, probing (arXiv:2209.14375).

Supervised fine-tuning; a preference model of verdicts; a rule model that reads a rule with a dialogue, trained on half
of the prompts of judgements, and another on the other half that only judges; reinforcement learning by the preference
alone and by both, less what is long or repeats itself; the best of eight answers by both, with each policy, measured
against one answer by the judge of rules; and probes, written by a model, that try to have each rule broken.

    camelid run sparrow --set start_model=path/to/model --set 'data.judgements=["mine.jsonl"]'

What differs from the paper:
- Nobody has judged our rules. Without `data.judgements`, other labels stand for some of them (docs/sparrow.md).
- RLOO in place of A2C; the policy practises on given prompts and not on dialogues with itself.
- No evidence from search. A model writes the probes, in place of people.
- How preference, rules and penalties are weighed is not published; here a rule that is surely broken costs one standard
  deviation of the preference score.
The settings are for full weights and GPUs; `sparrow-tiny` runs on two cores.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from camelid.annotate.hold_back import HoldBackSettings, hold_back
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.path import PathSettings, measure_path
from camelid.evaluate.report.stage import ReportSettings, write_run_report
from camelid.evaluate.rules.judgements import RuleJudgementSettings, make_rule_judgements
from camelid.evaluate.rules.probe import ProbeSettings, probe_rules
from camelid.evaluate.rules.rerank import RerankSettings, measure_rerank
from camelid.evaluate.version import EvaluateSettings
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes.quickstart import STARTER
from camelid.rounds import Inputs, Loop, evaluation
from camelid.runs import Input, Output, Stage, reseeded
from camelid.train.policy_gradient import PolicyGradientSettings, train_policy_gradient
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.rules import RulesSettings, train_rules
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings, train_sft

FULL = ModelSettings(lora_rank=0)
VERSIONS = {"rl-preference": "by preference", "rl-both": "by preference and rules"}


class DataSettings(BaseModel):
    """Where the data comes from. Relative paths are looked up in `folder`; the starter set comes with the package."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path = Path(os.environ.get("CAMELID_DATA", "data"))
    """Folder of the data: the environment variable CAMELID_DATA, or `data`."""
    demonstrations: list[Path] = [STARTER / "demonstrations.jsonl"]
    """Conversations to imitate."""
    preferences: list[Path] = [STARTER / "preferences.jsonl"]
    """Pairs with a verdict; those labelled safe or unsafe are judgements of a rule, too."""
    judgements: list[Path] = []
    """Judgements of rules by people (`RuleJudgement`); none: the labels below stand for them."""
    rules: Path | None = None
    """The rules; none: ours."""
    replies: list[Path] = [
        Path(f"safety/xstest_completions/xstest_v2_completions_{by}.csv") for by in ("gpt4", "llama2new")
    ]
    """XSTest's answers with people's labels: needless refusals."""
    prompts: list[Path] = [STARTER / "rollout_prompts.jsonl", STARTER / "preferences.jsonl"]
    """Prompts on which the policy practises; of preferences, only the prompts."""
    evaluation_prompts: list[Path] = [STARTER / "evaluation_prompts.jsonl"]
    """Prompts of the evaluation, tagged helpful, unsafe or borderline. No training row may repeat one."""


class Sparrow(BaseModel):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the whole run."""
    start_model: str = "smollm2-135m"
    """The model to begin with: a known name, a local folder, a Hugging Face id."""
    data: DataSettings = DataSettings()
    """Files."""
    hold_back: HoldBackSettings = HoldBackSettings(annotator_share=0.0, judge_share=0.35)
    """What of the verdicts is kept for the judge."""
    sft: SftSettings = SftSettings(model=FULL, learning_rate=2e-5, batch_size=64)
    """Supervised fine-tuning."""
    judge: RewardSettings = RewardSettings(model=FULL, learning_rate=1e-5, batch_size=64)
    """The evaluation's judge: a reward model on held-back verdicts."""
    preference: RewardSettings = RewardSettings(model=FULL, learning_rate=1e-5, batch_size=64)
    """The preference model."""
    labels: RuleJudgementSettings = RuleJudgementSettings()
    """Which rules the labels stand for, where nobody has judged."""
    rules: RulesSettings = RulesSettings(model=FULL, learning_rate=1e-5, batch_size=64)
    """Both rule models; which half of the prompts each learns from is the recipe's."""
    practise: PolicyGradientSettings = PolicyGradientSettings(
        model=FULL,
        learning_rate=1e-6,
        algorithm="rloo",
        scoring=ScoreSettings(length_penalty=0.001, free_tokens=200, repetition_penalty=0.5),
    )
    """Reinforcement learning; its sources are the recipe's."""
    rule_weight: float = 1.0
    """What a rule that is surely broken costs, in standard deviations of the preference score."""
    rerank: RerankSettings = RerankSettings(num_samples=8)
    """The best of eight."""
    probe: ProbeSettings = ProbeSettings()
    """Probing."""
    evaluate: EvaluateSettings = EvaluateSettings(sampling=Sampling(temperature=0.7))
    """The evaluation of each version."""


def stages(s: Sparrow) -> list[Stage]:
    """The recipe's stages, in order."""
    start = resolve_model(s.start_model)
    result: list[Stage] = []
    data_stages(s, result)
    prompts, asked = (Output(f"data/{name}", "rows.jsonl") for name in ("prompts", "evaluation-prompts"))
    sft = Output("sft", "model")
    shown: Inputs = {"model": start, "demonstrations": Output("data/demonstrations", "rows.jsonl")}
    verdicts = {part: Output("data/held-back", f"{part}.jsonl") for part in ("judge", "train")}
    result += [
        Stage("judge", train_reward, s.judge, {"model": start, "preferences": verdicts["judge"]}),
        Stage("sft", train_sft, s.sft, shown),
        Stage("preference", train_reward, s.preference, {"model": sft, "preferences": verdicts["train"]}),
    ]
    result += rule_models(s, sft)
    loop = Loop(
        start=start,
        base=sft,
        chat=sft,
        annotator={},
        judge=Output("judge", "model"),
        prompts=prompts,
        evaluation_prompts=[asked],
        preferences=[],
    )
    preference: Inputs = {"reward_model": Output("preference", "model")}
    both = preference | {"rule_model": Output("rules", "model")}
    versions = {"sft": sft} | {name: Output(name, "model") for name in VERSIONS}
    for name, model in versions.items():
        if name != "sft":
            reads: Inputs = {"model": sft, "prompts": prompts} | (both if name == "rl-both" else preference)
            result.append(Stage(name, train_policy_gradient, _practice(s, name), reads))
        result.append(evaluation(f"evaluate-{name}", name, model, loop, s.evaluate))
        result += watched(s, name, model, asked, both)
    names = tuple(VERSIONS.get(name, name) for name in versions)
    settings = PathSettings(versions=names, model=s.evaluate.model, chat_format=s.evaluate.chat_format)
    placed: Inputs = {"answers": list(loop.answers.values()), **preference}
    result.append(Stage("path", measure_path, settings, placed))
    everything = [Output(stage.name, "") for stage in result]
    result.append(Stage("report", write_run_report, ReportSettings(title="sparrow"), {"stages": everything}))
    return reseeded(result, s.seed)


def data_stages(s: Sparrow, result: list[Stage]) -> None:
    """Stages that read everything, and make judgements of labels where nobody has judged."""
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
    rows = Output("data/preferences", "rows.jsonl")
    result.append(Stage("data/held-back", hold_back, s.hold_back, {"preferences": rows}))
    if not s.data.judgements:
        labelled: Inputs = {"preferences": [rows], **_own_rules(s)}
        if s.data.replies:
            labelled["replies"] = [s.data.folder / file for file in s.data.replies]
        result.append(Stage("data/judgements", make_rule_judgements, s.labels, labelled))


def rule_models(s: Sparrow, model: Input) -> list[Stage]:
    """The rule model that learns from one half of the prompts, and the judge of rules that learns from the other."""
    judged: list[Input] = [s.data.folder / file for file in s.data.judgements]
    reads: Inputs = {
        "model": model,
        "judgements": judged or [Output("data/judgements", "judgements.jsonl")],
        **_own_rules(s),
    }
    return [
        Stage(name, train_rules, s.rules.model_copy(update={"part": part}), reads)
        for name, part in (("rules", "first"), ("rules-judge", "second"))
    ]


def watched(s: Sparrow, name: str, model: Input, prompts: Input, both: Inputs) -> list[Stage]:
    """Stages that measure how often a version breaks rules: with one answer, with the best of eight, under probing."""
    judge = Output("rules-judge", "model")
    rerank = s.rerank.model_copy(update={"violation_coef": s.rule_weight})
    picked: Inputs = {**both, "model": model, "judge_model": judge, "prompts": prompts}
    probed: Inputs = {"model": model, "rule_model": judge}
    return [
        Stage(f"rerank-{name}", measure_rerank, rerank, picked),
        Stage(f"probe-{name}", probe_rules, s.probe, probed),
    ]


def _practice(s: Sparrow, name: str) -> PolicyGradientSettings:
    sources: dict[Any, float] = {"reward_model": 1.0} | ({"rules": s.rule_weight} if name == "rl-both" else {})
    return s.practise.model_copy(update={"scoring": s.practise.scoring.model_copy(update={"sources": sources})})


def _own_rules(s: Sparrow) -> dict[str, Input]:
    return {"rules": s.data.folder / s.data.rules} if s.data.rules else {}
