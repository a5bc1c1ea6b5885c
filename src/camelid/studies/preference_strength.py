"""Preference strength: is a reward model right more often where the judge was surer?

GPT-4's graded judgements of AlpacaEval (four models against GPT-4 turbo, 3,218 in all), cut at 0.5, 0.9 and 0.999 of
the judge's certainty; folds by instruction. LLaMA-2 saw the same over people's four ratings (arXiv:2307.09288, table 8:
80.7, 67.5, 60.9, 54.7% for its helpfulness model). Beside each stands TF-IDF on the same pairs. The judge likes long
answers and GPT-4 turbo wins 97 of 100: the study is of strength, not of quality.

    camelid study preference-strength
"""

from __future__ import annotations

from camelid.collect.judgements import JudgementSettings
from camelid.evaluate.reward_models import RewardModelSettings, evaluate_reward_model
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, Cells, StudySettings
from camelid.studies._graded import REWARD, graded_folds
from camelid.train.reward import RewardSettings, train_reward
from camelid.types import RATINGS

ARM = "graded judgements"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    seeds: int = 5
    """Folds of the data: each is the test of a model trained on the others."""
    judgements: JudgementSettings = JudgementSettings(graded=True, max_rows=1500, max_words=220)
    """Which judgements are read."""
    reward: RewardSettings = REWARD
    """The reward model."""
    evaluate: RewardModelSettings = RewardModelSettings(chat_format=CHAT)
    """Its evaluation."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    for fold, (train, test) in enumerate(graded_folds(cells, s.folder, s.judgements, s.seeds)):
        settings = s.reward.model_copy(update={"seed": fold})
        made = cells.add(f"fold-{fold}/reward", train_reward, settings, model=start, preferences=train)
        reads = {"reward_model": Output(made, "model"), "preferences": test, "train": train}
        cells.measured(ARM, fold, cells.add(f"fold-{fold}/evaluate", evaluate_reward_model, s.evaluate, **reads))
    measures = [
        Measure(name=f"{name}, {rating}", path=("by_rating", rating, key), share=True)
        for rating in RATINGS
        for name, key in (("accuracy", "accuracy"), ("TF-IDF", "tfidf"))
    ]
    strongest, weakest = (f"accuracy, {rating}" for rating in (RATINGS[0], RATINGS[-1]))
    return cells.conclude(
        title="Preference strength",
        question=__doc__.partition("\n")[0],
        measures=tuple(measures),
        claims=(
            Claim(
                text="surer judgements are met more often",
                measure=strongest,
                cell=ARM,
                against=ARM,
                against_measure=weakest,
            ),
            *(
                Claim(
                    text=f"better than TF-IDF on those {rating}",
                    measure=f"accuracy, {rating}",
                    cell=ARM,
                    against=ARM,
                    against_measure=f"TF-IDF, {rating}",
                )
                for rating in RATINGS
            ),
        ),
        figures=(Figure(title="Accuracy by the judge's certainty", measures=tuple(m.name for m in measures)),),
        folds=True,
        notes=("Verdicts are GPT-4's, not people's.",),
    )
