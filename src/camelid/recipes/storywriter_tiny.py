"""A longer context on two cores, in minutes: 2,048 tokens beyond SmolLM2's 8,192.

Nothing pretends a smaller context: its windows really are longer. But two cores train on windows of 1,024 tokens only,
at scaled positions, as a stand-in for long ones; and short web documents, joined, stand in for books. Where documents
are short the text nearby predicts most, and the start model need not break down so soon: on the first window it did not
in the first 768 tokens beyond, and YaRN before training gained nothing there (docs/log.md). Three windows give wide
intervals.

    camelid run storywriter-tiny
"""

from __future__ import annotations

from camelid.evaluate.long_context import PositionSettings
from camelid.models.rope import RopeScaling
from camelid.recipes import storywriter
from camelid.recipes.storywriter import Storywriter
from camelid.runs import Stage
from camelid.train.uptrain import UptrainSettings

FULL = Storywriter()


class StorywriterTiny(Storywriter):
    """Settings of the recipe; each is reached from the command line as `--set a.b=value`."""

    rope_scaling: RopeScaling = RopeScaling(type="yarn", factor=2)
    train_window_tokens: int = 1024
    beyond_tokens: int = 2048
    train: UptrainSettings = FULL.train.model_copy(update={"max_windows": 24, "batch_size": 3, "checkpoint_every": 2})
    measure: PositionSettings = FULL.measure.model_copy(update={"max_windows": 3})


def stages(s: StorywriterTiny) -> list[Stage]:
    """The recipe's stages, in order."""
    return storywriter.stages(s)
