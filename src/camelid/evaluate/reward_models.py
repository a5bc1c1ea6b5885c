"""A reward model as the thing evaluated: accuracy with length taken out, calibration, drift, a second model's opinion.

    camelid eval reward --model REWARD_MODEL --preferences FILE...
    camelid eval reward --model MODEL --preferences FILE... --train FILE... --fresh ANSWERS... --second OTHER_MODEL
    camelid eval reward --scores FILE --preferences FILE...

The numbers are made in `reward_measures.py` and `reward_drift.py`; here models are asked for scores, which are written
as they come, so that a stopped run goes on. With scores from a file nothing here loads torch. Scores are raw, before
the standardisation that training adds: their difference is Bradley-Terry's logit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.completions import Completion, read_completions
from camelid.evaluate.pair_scores import PairScore, read_pair_scores
from camelid.evaluate.reward_drift import describe_versions
from camelid.evaluate.reward_measures import describe_pairs
from camelid.runs import Run, Settings
from camelid.types import Preference, read_records

if TYPE_CHECKING:
    from camelid.models.reward_model import RewardModel


class RewardModelSettings(Settings):
    """Evaluation of a reward model."""

    chat_format: str = "model"
    """Chat format of the reward models."""
    precision: str = "auto"
    """Numbers that the models compute in: auto, float32 or bfloat16."""
    micro_batch_tokens: int = Field(default=4096, ge=1)
    """Tokens of one forward pass."""
    max_tokens: int = Field(default=2048, ge=8)
    """Longer conversations are cut at the end, and counted."""
    folds: int = Field(default=5, ge=2)
    """Parts, by prompt, for the TF-IDF baseline where no training pairs are given."""
    num_bins: int = Field(default=10, ge=1)
    """Bins of the calibration curve."""
    rows_a_chunk: int = Field(default=256, ge=1)
    """Conversations scored between two writes to disk."""


def evaluate_reward_model(run: Run) -> dict[str, Any]:
    """Stage: `preferences`, and `reward_model` or `scores` (a file) -> results.json, scores.jsonl.

    `scores` may be the scores.jsonl of another run. Optional: `train`, the preferences that the model was trained on,
    for the TF-IDF baseline and as the reference of drift; `fresh`, files of answers, a version each, oldest first;
    `second_reward_model`, another opinion of those.
    """
    s: RewardModelSettings = run.settings
    _check_inputs(run)
    preferences = _preferences(run, "preferences")
    train = _preferences(run, "train") if "train" in run.inputs else []
    scoring = _Scoring(run)
    if "scores" in run.inputs:
        scores, cut = read_pair_scores(run.inputs["scores"], preferences), None
    else:
        scored = scoring.score("answer_scores.jsonl", "reward_model", _answers_of(preferences))
        scores = [PairScore(a, b) for (a, _), (b, _) in zip(scored[::2], scored[1::2], strict=True)]
        cut = sum(was_cut for _, was_cut in scored)
    rows = [{"id": p.id} | score._asdict() for p, score in zip(preferences, scores, strict=True)]
    (run.path / "scores.jsonl").unlink(missing_ok=True)
    append_json_lines(run.path / "scores.jsonl", rows)
    results = describe_pairs(preferences, scores, train, folds=s.folds, num_bins=s.num_bins)
    if cut is not None:
        results["cut"] = cut
    if "fresh" in run.inputs:
        results |= _versions(run, scoring, train)
    write_json(run.path / "results.json", results)
    return {name: value["value"] for name, value in results.items() if isinstance(value, dict) and "value" in value}


def _versions(run: Run, scoring: _Scoring, train: Sequence[Preference]) -> dict[str, Any]:
    """Drift and alarm: the scores of every fresh file by one model or two, against those of the training answers."""
    files = _files(run, "fresh")
    completions = [read_completions(path) for path in files]
    reference = [score for score, _ in scoring.score("train_scores.jsonl", "reward_model", _answers_of(train))]
    models = [name for name in ("reward_model", "second_reward_model") if name in run.inputs]
    scores = [
        [
            [score for score, _ in scoring.score(f"{model}_on_version_{i}.jsonl", model, version)]
            for i, version in enumerate(completions, 1)
        ]
        for model in models
    ]
    return describe_versions([f"{path.parent.name}/{path.name}" for path in files], completions, reference, *scores)


class _Scoring:
    """Asks a run's reward models, each loaded once and only where something is left to score."""

    def __init__(self, run: Run):
        self.run = run
        self.models: dict[str, RewardModel] = {}

    def score(self, file_name: str, model: str, completions: Sequence[Completion]) -> list[tuple[float, bool]]:
        """(raw score, whether it was cut) of every completion, from the file where a stopped run has written it."""
        s: RewardModelSettings = self.run.settings
        path = self.run.path / file_name
        done = keep_whole_chunks(path, s.rows_a_chunk, len(completions))
        if done < len(completions):
            if model not in self.models:
                self.models[model] = _load(self.run.inputs[model], s)
            with self.run.progress(path.stem, len(completions), done) as tick:
                for start in range(done, len(completions), s.rows_a_chunk):
                    chunk = completions[start : start + s.rows_a_chunk]
                    scored = _raw_scores(self.models[model], chunk, s.max_tokens)
                    append_json_lines(path, [{"score": value, "cut": was_cut} for value, was_cut in scored])
                    tick(len(scored))
        rows = [json.loads(line) for line in read_whole_lines(path)]
        return [(row["score"], row["cut"]) for row in rows]


def _load(path: Path, s: RewardModelSettings) -> RewardModel:
    """Torch is loaded here, not where the module is imported."""
    from camelid.models.model_settings import ModelSettings
    from camelid.models.reward_model import RewardModel

    settings = ModelSettings.model_validate({"precision": s.precision, "micro_batch_tokens": s.micro_batch_tokens})
    return RewardModel.load(path, settings, s.chat_format)


def _raw_scores(model: RewardModel, completions: Sequence[Completion], max_tokens: int) -> list[tuple[float, bool]]:
    whole = [model.row(prompt, text or " ") for prompt, text in completions]  # an empty answer is read as a space
    cut = [len(row.ids) > max_tokens for row in whole]
    rows = [
        model.row(prompt, text or " ", max_tokens) if too_long else row
        for (prompt, text), row, too_long in zip(completions, whole, cut, strict=True)
    ]
    return list(zip(model.raw(model.score(rows)).tolist(), cut, strict=True))


def _answers_of(preferences: Sequence[Preference]) -> list[Completion]:
    """Chosen and rejected answer of every pair, in turn."""
    return [Completion(p.prompt, text) for p in preferences for text in (p.chosen, p.rejected)]


def _preferences(run: Run, name: str) -> list[Preference]:
    found = [p for path in _files(run, name) for p in read_records(path, Preference)]
    if not found:
        raise ValueError(f"the files of {name!r} hold no preference; `camelid data check FILE` says why")
    return found


def _files(run: Run, name: str) -> list[Path]:
    value = run.inputs[name]
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_inputs(run: Run) -> None:
    has = run.inputs.__contains__
    if has("scores") == has("reward_model"):
        raise ValueError("give a reward model or a file of scores, one of them")
    if has("fresh") and not (has("reward_model") and has("train")):
        raise ValueError(
            "fresh answers need a reward model to read them and the pairs it was trained on to compare with (train)"
        )
    if has("second_reward_model") and not has("fresh"):
        raise ValueError("a second reward model speaks on fresh answers; give their files, oldest version first")
