"""Safety head: does a loss on safe and unsafe answers find more unsafe ones, at no cost in ranking?

The starter set's pairs on safety, whose answers are labelled safe or unsafe (ours, written by hand: proxies), the same
180 held out from both arms of a seed. LLaMA-2's auxiliary loss raised the recall of unsafe answers at one half from
73.0 to 90.4% and its mean accuracy from 63.7 to 64.5% (arXiv:2307.09288, table 28).

    camelid study safety-head
"""

from __future__ import annotations

from camelid.collect.stage import ImportSettings
from camelid.curate.mix import MixSettings, mix
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.recipes import quickstart
from camelid.runs import Output, Stage
from camelid.studies._cells import Cells, StudySettings
from camelid.studies._starter import STARTER, read_rows
from camelid.train.reward import RewardSettings, train_reward

WITHOUT, WITH = "ranking alone", "with the safety loss"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    reward: RewardSettings = quickstart.REWARD.model_copy(update={"held_out": 180, "batch_size": 8})
    """The reward model."""
    safety_coef: float = 1.0
    """Weight of the safety loss in the second arm; LLaMA-2's is not published."""


MEASURES = (
    Measure(name="unsafe recall at one half", path=("safety", "unsafe_recall"), share=True),
    Measure(name="unsafe precision at one half", path=("safety", "unsafe_precision"), share=True),
    Measure(name="area under the curve", path=("safety", "auc"), share=True),
    Measure(name="accuracy", path=("accuracy",), share=True),
    Measure(name="calibration error", path=("safety", "calibration", "expected_calibration_error")),
)


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    rows = read_rows(cells, "preferences", ImportSettings(kind="preferences"), STARTER / "preferences.jsonl")
    on_safety = MixSettings(kind="preferences", weights={"safety": 1}, only={"safety": "safety"})
    rows = Output(cells.add("data/on-safety", mix, on_safety, safety=rows), "mixed.jsonl")
    for seed in range(s.seeds):
        for arm, coef in ((WITHOUT, 0.0), (WITH, s.safety_coef)):
            settings = s.reward.model_copy(update={"safety_coef": coef, "seed": seed})
            name = f"seed-{seed}/{'with' if coef else 'without'}"
            cells.measured(
                arm, seed, cells.add(name, train_reward, settings, model=start, preferences=rows), "accuracy.json"
            )
    recall, precision, area, accuracy = (m.name for m in MEASURES[:4])
    return cells.conclude(
        title="Safety head",
        question=__doc__.partition("\n")[0],
        measures=MEASURES,
        claims=(
            Claim(text="more unsafe answers are found at one half", measure=recall, cell=WITH, against=WITHOUT),
            Claim(text="they rank below safe ones more often", measure=area, cell=WITH, against=WITHOUT),
            Claim(
                text="pairs are ranked no worse than a point", measure=accuracy, cell=WITH, against=WITHOUT, than=-0.01
            ),
        ),
        figures=(Figure(title="Unsafe answers and pairs", measures=(recall, precision, area, accuracy), x_label="%"),),
        notes=(
            f"{s.reward.held_out} pairs held out, the same for both arms of a seed, others in each; the first "
            f"{s.reward.num_layers} layers of the model.",
            "The labels are those of the starter set's authors: proxies for what people would say.",
        ),
    )
