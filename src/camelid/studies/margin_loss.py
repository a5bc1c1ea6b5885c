"""Margin loss: does a margin by rating part clear verdicts further, and are more of them met?

The starter set's pairs with LLaMA-2's four ratings (ours, written by hand), the same 200 held out from all arms of a
seed. LLaMA-2 gained a point at most (62.5, 63.0, 62.9% without, with the small and with the large margin), and saw
scores part into two heaps (arXiv:2307.09288, appendix A.3.3): the gap and the heaps are expected here, the accuracy is
only reported.

    camelid study margin-loss
"""

from __future__ import annotations

from camelid.collect.stage import ImportSettings
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.recipes import quickstart
from camelid.runs import Stage
from camelid.studies._cells import Cells, StudySettings
from camelid.studies._starter import STARTER, read_rows
from camelid.train.reward import RewardSettings, train_reward
from camelid.types import RATINGS

ARMS = ("none", "small", "large")


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    reward: RewardSettings = quickstart.REWARD.model_copy(update={"held_out": 200})
    """The reward model; its margins are the arms."""


MEASURES = (
    *(Measure(name=f"gap, {rating}", path=("gap_by_rating", rating)) for rating in RATINGS),
    Measure(name="bimodality", path=("bimodality",)),
    Measure(name="accuracy", path=("accuracy",), share=True),
    Measure(name=f"accuracy, {RATINGS[0]}", path=("by_rating", RATINGS[0], "accuracy"), share=True),
    Measure(name="TF-IDF", path=("tfidf",), share=True),
    Measure(name="longer wins", path=("longer_wins",), share=True),
)


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    rows = read_rows(cells, "preferences", ImportSettings(kind="preferences"), STARTER / "preferences.jsonl")
    for seed in range(s.seeds):
        for arm in ARMS:
            settings = s.reward.model_copy(update={"margins": arm, "seed": seed})
            made = cells.add(f"seed-{seed}/{arm}", train_reward, settings, model=start, preferences=rows)
            cells.measured(arm, seed, made, "accuracy.json")
    clear, unclear = f"gap, {RATINGS[0]}", f"gap, {RATINGS[-1]}"
    return cells.conclude(
        title="Margin loss",
        question=__doc__.partition("\n")[0],
        measures=MEASURES,
        claims=(
            *(
                Claim(text=f"the {arm} margin parts clear verdicts further", measure=clear, cell=arm, against="none")
                for arm in ARMS[1:]
            ),
            Claim(text="the large margin further than the small", measure=clear, cell="large", against="small"),
            Claim(text="scores fall into two heaps with it", measure="bimodality", cell="large", against="none"),
            *(
                Claim(
                    text=f"clear verdicts are parted further than unclear ones, margin {arm}",
                    measure=clear,
                    cell=arm,
                    against=arm,
                    against_measure=unclear,
                )
                for arm in ARMS
            ),
        ),
        figures=(
            Figure(title="Gap of scores by rating", measures=(clear, unclear), x_label="logits"),
            Figure(title="Accuracy", measures=("accuracy", f"accuracy, {RATINGS[0]}", "TF-IDF"), x_label="%"),
        ),
        notes=(
            f"{s.reward.held_out} pairs held out, the same for all arms of a seed, others in each; the first "
            f"{s.reward.num_layers} layers of the model. Gaps are in logits, as they were trained.",
            "No accuracy is claimed: the paper's own gain is within this study's noise.",
        ),
    )
