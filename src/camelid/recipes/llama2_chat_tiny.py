"""LLaMA-2-Chat on two cores in under an hour: five versions of SmolLM2-135M, with everything that the recipe has.

The stages, their order and their data are those of `llama2-chat`; less data, LoRA in place of full weights, reward
models on the first ten layers, short answers, and no temperature above 0.8: at 1.2 so small a model writes what only
its own small reward models like, and they chose it (docs/log.md). The verdicts are HH's on harm (people's),
AlpacaEval's on help (GPT-4's) and the starter set's. docs/results.md has what came out: the path of the versions by
helpfulness and safety.

    camelid run llama2-chat-tiny
"""

from __future__ import annotations

from camelid.annotate.pairs import PairSettings
from camelid.annotate.scripted import ScriptedSettings
from camelid.collect.context_distillation import DistillationSettings
from camelid.collect.ghost_attention import GhostSettings
from camelid.collect.judgements import JudgementSettings
from camelid.collect.stage import ImportSettings
from camelid.evaluate.version import EvaluateSettings
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import llama2_chat
from camelid.recipes.llama2_chat import Llama2Chat
from camelid.rounds import RoundSettings
from camelid.runs import Stage
from camelid.train.guards import GuardSettings, Limit
from camelid.train.pool import PoolSettings
from camelid.train.ppo import PpoSettings
from camelid.train.rejection import BestSettings
from camelid.train.reward import RewardSettings
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings
from camelid.train.temperature import TemperatureSettings

CHAT = "chatml"
"""ChatML without a default system prompt: SmolLM2's own puts another assistant's name into every conversation."""
TOKENS = 2048
"""Token budget of a micro-batch on two cores."""
REWARD = RewardSettings(
    chat_format=CHAT,
    model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
    num_layers=10,
    learning_rate=1e-3,
    batch_size=32,
    warmup_steps=2,
    held_out=60,
)
SFT = SftSettings(
    chat_format=CHAT,
    model=ModelSettings(lora_first_layer=18, micro_batch_tokens=TOKENS),
    learning_rate=2e-3,
    batch_size=16,
    opening_epochs=2,
    opening_tokens=5,
    opening_weight=2,
    tag_weights={"refusal": 0.3, "unsafe": 0.3},
    epochs=1,
    warmup_steps=3,
)
"""As in the quickstart the line between requests is learnt in the openings, the manner in whole answers; of those a
whole pass at a lower rate, so that versions that are fine-tuned anew do not differ by that alone."""


class Llama2ChatTiny(Llama2Chat):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    safety_preferences: ImportSettings = ImportSettings(
        kind="preferences", about="safety", tags=("unsafe",), max_words=120, max_rows=400
    )
    judgements: JudgementSettings = JudgementSettings(max_rows=400, max_words=160)
    sft: SftSettings = SFT
    judge: RewardSettings = REWARD
    annotator: RewardSettings = REWARD
    alarm: RewardSettings = REWARD
    round: RoundSettings = RoundSettings(
        pairs=PairSettings(
            chat_format=CHAT,
            sampling=Sampling(temperature=0.8, max_new_tokens=48),
            other_sampling=Sampling(temperature=1.0, max_new_tokens=48),
            max_prompts=48,
        ),
        annotator=ScriptedSettings(chat_format=CHAT),
        reward=REWARD,
        safety_coef=1.0,
        two_reward_models=True,
        mixtures=True,
        temperature=TemperatureSettings(
            chat_format=CHAT,
            temperatures=(0.4, 0.6, 0.8),
            best_of=16,
            num_samples=16,
            sampling=Sampling(max_new_tokens=48),
            max_prompts=16,
        ),
        best=BestSettings(chat_format=CHAT, num_samples=16, sampling=Sampling(max_new_tokens=48), max_prompts=160),
        pool=PoolSettings(chat_format=CHAT, best_a_prompt=1),
        ghost=GhostSettings(
            chat_format=CHAT,
            num_dialogues=24,
            min_turns=2,
            max_turns=3,
            kinds=("ending", "mention"),
            num_samples=4,
            keep="checked",
            sampling=Sampling(temperature=0.8, max_new_tokens=40),
        ),
        distilled=DistillationSettings(
            chat_format=CHAT, max_prompts=48, sampling=Sampling(temperature=0.7, max_new_tokens=96)
        ),
        reject=SFT,
        ppo=PpoSettings(
            chat_format=CHAT,
            model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
            learning_rate=5e-4,
            num_iterations=8,
            batch_size=48,
            mini_batch_size=12,
            kl_coef=0.01,
            sampling=Sampling(max_new_tokens=40),
            scoring=ScoreSettings(two_models="gate", standardise="batch", unfinished_score=None),
            guards=GuardSettings(divergence=Limit(limit=0.0), divergence_window=6),
            held_out=32,
            held_out_every=2,
            patience=2,
        ),
        ppo_from=5,
    )
    evaluate: EvaluateSettings = EvaluateSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=48), kl_prompts=24
    )


def stages(s: Llama2ChatTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return llama2_chat.stages(s)
