"""Graded judgements of AlpacaEval in folds, and the reward model that studies of them train."""

from __future__ import annotations

from pathlib import Path

from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.curate.folds import FoldSettings, split_fold
from camelid.models.model_settings import ModelSettings
from camelid.runs import Output
from camelid.studies._cells import CHAT, TOKENS, Cells
from camelid.train.reward import RewardSettings

JUDGED = ("vicuna-7b", "falcon-7b-instruct", "alpaca-7b", "text_davinci_001")
REWARD = RewardSettings(
    chat_format=CHAT,
    model=ModelSettings(lora_first_layer=4, micro_batch_tokens=TOKENS),
    num_layers=15,
    learning_rate=5e-4,
    warmup_steps=5,
    margins="none",
    batch_size=32,
    held_out=0,
)


def graded_folds(cells: Cells, folder: Path, settings: JudgementSettings, folds: int) -> list[tuple[Output, Output]]:
    """Training and test rows of each fold by instruction."""
    files = [folder / f"preferences/alpaca_eval_weighted/{name}.json" for name in JUDGED]
    read = cells.add("data/judgements", import_judgements, settings, judgements=files)
    found = []
    for fold in range(folds):
        fold_settings = FoldSettings(folds=max(folds, 2), fold=fold)
        rows = Output(read, "train.jsonl")
        split = cells.add(f"fold-{fold}/data", split_fold, fold_settings, preferences=rows)
        found.append((Output(split, "train.jsonl"), Output(split, "test.jsonl")))
    return found
