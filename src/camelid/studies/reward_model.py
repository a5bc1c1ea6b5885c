"""Reward model: does it rank pairs of prompts it never saw better than what reads nothing of them?

On the 1,800 harmlessness pairs of HH that are at hand (human), five folds by prompt; on AlpacaEval's judgements
(GPT-4's), split by instruction. Beside every accuracy stand "the longer wins" and a TF-IDF Bradley-Terry model fitted
on the same training pairs; AlpacaEval's also on pairs of like length, where length decides nothing.

    camelid study reward-model
"""

from __future__ import annotations

from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.folds import FoldSettings, split_fold
from camelid.evaluate.reward_models import RewardModelSettings, evaluate_reward_model
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.train.reward import RewardSettings, train_reward

HH = "preferences/hh_harmless_1800.jsonl.gz"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    seeds: int = 5
    """Folds of the data: each is the test of a model trained on the others."""
    max_words: int = 250
    """Pairs of more words than this are left out."""
    reward: RewardSettings = RewardSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
        num_layers=20,
        learning_rate=5e-4,
        warmup_steps=5,
        margins="none",
        batch_size=32,
        held_out=0,
    )
    """The reward model."""
    evaluate: RewardModelSettings = RewardModelSettings(chat_format=CHAT)
    """Its evaluation."""


MEASURES = (
    Measure(name="accuracy", path=("accuracy",), share=True),
    Measure(name="longer wins", path=("longer_wins",), share=True),
    Measure(name="TF-IDF", path=("tfidf",), share=True),
)


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    read = ImportSettings(kind="preferences", max_words=s.max_words)
    rows = Output(cells.add("data/hh", import_data, read, data=[s.folder / HH]), "rows.jsonl")
    for fold in range(s.seeds):
        fold_settings = FoldSettings(folds=max(s.seeds, 2), fold=fold)
        split = cells.add(f"fold-{fold}/data", split_fold, fold_settings, preferences=rows)
        train, test = Output(split, "train.jsonl"), Output(split, "test.jsonl")
        settings = s.reward.model_copy(update={"seed": fold})
        made = cells.add(f"fold-{fold}/reward", train_reward, settings, model=start, preferences=train)
        result = cells.add(
            f"fold-{fold}/evaluate",
            evaluate_reward_model,
            s.evaluate,
            reward_model=Output(made, "model"),
            preferences=test,
            train=train,
        )
        cells.measured("HH harmless", fold, result)
    arm = "HH harmless"
    return cells.conclude(
        title="Reward model",
        question=__doc__.partition("\n")[0],
        measures=MEASURES,
        claims=(
            Claim(
                text="more accurate than TF-IDF",
                measure="accuracy",
                cell=arm,
                against=arm,
                against_measure="TF-IDF",
            ),
            Claim(
                text="more accurate than 'the longer wins'",
                measure="accuracy",
                cell=arm,
                against=arm,
                against_measure="longer wins",
            ),
            Claim(text="above 64%", measure="accuracy", cell=arm, against=0.64),
        ),
        figures=(
            Figure(title="Accuracy on prompts never seen", measures=tuple(m.name for m in MEASURES), x_label="%"),
        ),
        folds=True,
        notes=(f"{s.seeds} folds by prompt; the first {s.reward.num_layers or 'and only'} layers of the model.",),
    )
