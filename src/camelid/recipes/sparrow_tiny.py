"""Sparrow on two cores: SmolLM2-135M, three rules that labels stand for, the best of eight, probing.

The stages and their order are those of `sparrow`; LoRA in place of full weights, preference and rule models on the
first ten layers, short answers. First runs of such small rule models ranked judgements worse than bags of words do
(docs/sparrow.md): auc.json of the stages `rules` and `rules-judge` says how far what follows may be believed.

    camelid run sparrow-tiny
"""

from __future__ import annotations

from camelid.evaluate.rules.judgements import RuleJudgementSettings
from camelid.evaluate.rules.probe import ProbeSettings
from camelid.evaluate.rules.rerank import RerankSettings
from camelid.evaluate.version import EvaluateSettings
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import quickstart, sparrow
from camelid.recipes.quickstart import CHAT, TOKENS
from camelid.recipes.sparrow import Sparrow
from camelid.runs import Stage
from camelid.train.policy_gradient import PolicyGradientSettings
from camelid.train.reward import RewardSettings
from camelid.train.rules import RulesSettings
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings

DRAWN = Sampling(temperature=0.7, max_new_tokens=40)


class SparrowTiny(Sparrow):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    sft: SftSettings = quickstart.Quickstart().sft.model_copy(update={"held_out": 0})
    judge: RewardSettings = quickstart.REWARD
    preference: RewardSettings = quickstart.REWARD
    labels: RuleJudgementSettings = RuleJudgementSettings(max_rows=250)
    rules: RulesSettings = RulesSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
        num_layers=10,
        learning_rate=1e-3,
        batch_size=16,
        epochs=2,
        warmup_steps=3,
        max_tokens=256,
        held_out=60,
    )
    practise: PolicyGradientSettings = PolicyGradientSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        algorithm="rloo",
        num_iterations=12,
        prompts_an_iteration=12,
        num_samples=4,
        prompts_a_step=4,
        sampling=Sampling(max_new_tokens=40),
        scoring=ScoreSettings(repetition_penalty=0.5, unfinished_score=None),
    )
    rerank: RerankSettings = RerankSettings(chat_format=CHAT, sampling=DRAWN, num_samples=8, max_prompts=64)
    probe: ProbeSettings = ProbeSettings(
        chat_format=CHAT,
        probes_per_rule=16,
        probing=Sampling(temperature=1.0, top_p=0.95, max_new_tokens=40),
        sampling=DRAWN,
    )
    evaluate: EvaluateSettings = EvaluateSettings(chat_format=CHAT, sampling=DRAWN, kl_prompts=48)


def stages(s: SparrowTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return sparrow.stages(s)
