"""InstructGPT on two cores: SmolLM2-135M, its checkpoint by reward, rankings of four, PPO with and without text.

The stages and their order are those of `instructgpt`; LoRA in place of full weights, reward models on the first ten
layers, fewer and shorter answers, the value head on the policy's trunk. Text weighs 1 beside PPO and not 27.8: with
adapters at this learning rate the policy would learn of text alone.

    camelid run instructgpt-tiny
"""

from __future__ import annotations

from camelid.annotate.rankings import RankSettings
from camelid.collect.hold_out import HoldOutSettings
from camelid.evaluate.checkpoint_choice import ChoiceSettings
from camelid.evaluate.long_context import PositionSettings
from camelid.evaluate.version import EvaluateSettings
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import instructgpt, quickstart
from camelid.recipes.instructgpt import InstructGPT
from camelid.recipes.quickstart import CHAT, TOKENS
from camelid.runs import Stage
from camelid.train.ppo import PpoSettings
from camelid.train.pretraining_mix import MixSettings
from camelid.train.reward import RewardSettings
from camelid.train.scoring import ScoreSettings
from camelid.train.sft import SftSettings

DRAWN = Sampling(temperature=0.7, max_new_tokens=40)
REWARD = quickstart.REWARD.model_copy(update={"margins": "none"})


class InstructGPTTiny(InstructGPT):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    validation: HoldOutSettings = HoldOutSettings(held_out=48)
    epochs: tuple[float, ...] = (0.5, 1, 2, 4)
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=18, micro_batch_tokens=TOKENS),
        learning_rate=2e-3,
        batch_size=16,
        warmup_steps=3,
    )
    judge: RewardSettings = REWARD
    annotator: RewardSettings = REWARD
    choose: ChoiceSettings = ChoiceSettings(chat_format=CHAT, sampling=DRAWN, max_prompts=96)
    rank: RankSettings = RankSettings(chat_format=CHAT, sampling=DRAWN, num_samples=4, max_prompts=128)
    reward: RewardSettings = REWARD
    ppo: PpoSettings = PpoSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        num_iterations=10,
        batch_size=48,
        mini_batch_size=16,
        kl_coef=0.02,
        sampling=Sampling(max_new_tokens=40),
        scoring=ScoreSettings(unfinished_score=None),
        ptx=MixSettings(coef=1.0, ratio=0.5, max_tokens=256),
        ema="instead",
        ema_decay=0.9,
    )
    nll: PositionSettings = PositionSettings(window_tokens=256, max_windows=60)
    evaluate: EvaluateSettings = EvaluateSettings(chat_format=CHAT, sampling=DRAWN, kl_prompts=48)


def stages(s: InstructGPTTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return instructgpt.stages(s)
