"""`camelid eval reward`: a reward model, or its scores in a file, against pairs that somebody judged."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camelid import settings_text
from camelid.collect.stage import ImportSettings, import_data
from camelid.commands import print_json, say
from camelid.commands.shown import in_percent, in_units
from camelid.evaluate.reward_models import RewardModelSettings, evaluate_reward_model
from camelid.functional.detection import PAPER_PRECISION, PAPER_THRESHOLD
from camelid.runs import Input, Output, Stage, execute, read_manifest
from camelid.table import print_table

JUDGES = {"accuracy": "model", "longer_wins": "longer wins", "tfidf": "bag of words"}


def reward(arguments: argparse.Namespace) -> int:
    """Bring the pairs in, score them, print what comes of it."""
    stages = _stages(arguments)
    finished = execute(stages, Path(arguments.out), announce=say)
    results = json.loads((finished["reward-model"] / "results.json").read_text(encoding="utf-8"))
    left_out = (read_manifest(finished["data/preferences"]) or {})["metrics"]["set_aside_by_reason"]
    if arguments.json:
        print_json(as_json(results) | {"left_out": left_out})
        return 0
    if left_out:
        say("left out: " + ", ".join(f"{count} {reason}" for reason, count in left_out.items()))
    _print_accuracy(results)
    _print_calibration(results["calibration"])
    if "safety" in results:
        _print_safety(results["safety"])
    if "drift" in results:
        _print_drift(results)
    say(f"all numbers: {finished['reward-model'] / 'results.json'}")
    return 0


def _stages(arguments: argparse.Namespace) -> list[Stage]:
    """Any known format becomes our records in a stage of its own, since an evaluation reads no foreign formats."""
    settings = settings_text.change(RewardModelSettings(), arguments.set)
    importing = ImportSettings(kind="preferences")
    stages = [Stage("data/preferences", import_data, importing, {"data": _files(arguments.preferences)})]
    inputs: dict[str, Any] = {"preferences": Output("data/preferences", "rows.jsonl")}
    if arguments.train:
        stages.append(Stage("data/train", import_data, importing, {"data": _files(arguments.train)}))
        inputs["train"] = Output("data/train", "rows.jsonl")
    if arguments.fresh:
        inputs["fresh"] = _files(arguments.fresh)
    if arguments.scores:
        inputs["scores"] = Path(arguments.scores)
    for name, model in (("reward_model", arguments.model), ("second_reward_model", arguments.second)):
        if model:
            inputs[name] = _model(model)
    return [*stages, Stage("reward-model", evaluate_reward_model, settings, inputs)]


def _files(names: list[str]) -> list[Input]:
    return [Path(name) for name in names]


def _model(name: str) -> Path:
    from camelid.models.loading import resolve_model  # loads torch, which scores from a file do without

    return resolve_model(name)


def as_json(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results, shares of pairs in percent; calibration in probabilities, scores and drift in their own units."""
    balanced = results["length"]["balanced"].get("accuracy")
    calibration = results["calibration"]
    plain = {
        "n": results["n"],
        "accuracy": 100 * results["accuracy"]["value"],
        "standard_error": 100 * results["accuracy"]["standard_error"],
        "interval": [100 * results["accuracy"]["low"], 100 * results["accuracy"]["high"]],
        "longer_wins": 100 * results["longer_wins"]["value"],
        "tfidf": 100 * results["tfidf"]["value"] if "tfidf" in results else None,
        "length_balanced_accuracy": 100 * balanced["value"] if balanced else None,
        "expected_calibration_error": calibration["expected_calibration_error"],
        "brier_score": calibration["brier_score"]["value"],
    }
    shares = {name: _shares(results[name]) for name in ("gain_over", "length", "by_rating", "by_kind", "by_source")}
    return {**results, **plain, **shares}


def _shares(value: Any) -> Any:
    """Every estimate inside `value` in percent."""
    if isinstance(value, dict) and "standard_error" in value:
        interval = [100 * value["low"], 100 * value["high"]]
        error = 100 * value["standard_error"]
        return {"percent": 100 * value["value"], "interval": interval, "standard_error": error, "n": value["n"]}
    if isinstance(value, dict):
        return {name: _shares(inner) for name, inner in value.items()}
    return [_shares(inner) for inner in value] if isinstance(value, list) else value


def _print_accuracy(results: Mapping[str, Any]) -> None:
    length = results["length"]
    groups = {"all pairs": results, "length balanced": length["balanced"]}
    for kind in ("by_rating", "by_kind", "by_source"):
        if len(results[kind]) > 1 or kind == "by_rating":
            groups |= results[kind]
    rows = [
        [name, *(in_percent(judges.get(judge)) for judge in JUDGES), str(judges["accuracy"]["n"])]
        for name, judges in groups.items()
        if "accuracy" in judges
    ]
    for b in length["by_ratio"]:
        bounds = f"{b['low']:g} to {b['high']:g}" if b["high"] else f"above {b['low']:g}"
        rows.append([f"chosen/rejected {bounds}", in_percent(b["accuracy"]), "", "", str(b["accuracy"]["n"])])
    print_table(["right, %", *JUDGES.values(), "prompts"], rows, right=[*JUDGES.values(), "prompts"])
    if results["prompts_in_train"]:
        say(f"WARNING: {results['prompts_in_train']} of the {results['num_prompts']} prompts are in the training pairs")
    gains = [f"{in_percent(estimate)} over {JUDGES[name]}" for name, estimate in results["gain_over"].items()]
    say("gain in points: " + "; ".join(gains))
    say(
        f"{results['n']} pairs of {results['num_prompts']} prompts; the chosen answer is the longer in "
        f"{length['chosen_longer']}, the shorter in {length['chosen_shorter']}; "
        f"bag of words fitted on {results['tfidf_fitted_on'] or 'nothing: too few prompts'}"
    )


def _print_calibration(calibration: Mapping[str, Any]) -> None:
    _print_bins(calibration, ["model says, %", "people agree, %", "pairs"])
    best = calibration["temperature"]
    fits = f"{best:.2f}" if best is not None else "infinite: the scores order these pairs no better than chance"
    say(f"{_errors(calibration)}; best temperature {fits}")


def _print_safety(safety: Mapping[str, Any]) -> None:
    columns = ["P(safe) below", "flagged", "unsafe among them, %", "of the unsafe, %"]
    rows = [
        [row["name"], str(row["num_flagged"]), in_percent(row["precision"]), in_percent(row["recall"])]
        for row in safety["thresholds"]
    ]
    print_table(columns, rows, right=columns)
    gate = "none: nothing is flagged" if safety["gate_threshold"] is None else f"{safety['gate_threshold']:.2f}"
    say(
        f"{safety['num_unsafe']} answers labelled unsafe, {safety['num_safe']} safe; area under the ROC curve, in "
        f"percent: {in_percent(safety['auc']) or 'none'}; threshold whose precision is nearest {PAPER_PRECISION:.0%}, "
        f"that of LLaMA-2's gate at {PAPER_THRESHOLD}: {gate}"
    )
    _print_bins(safety["calibration"], ["P(safe), %", "people say safe, %", "answers"])
    say(_errors(safety["calibration"]))


def _print_bins(calibration: Mapping[str, Any], columns: list[str]) -> None:
    rows = [[f"{100 * b['predicted']:.1f}", in_percent(b["observed"]), str(b["number"])] for b in calibration["bins"]]
    print_table(columns, rows, right=columns)


def _errors(calibration: Mapping[str, Any]) -> str:
    return (
        f"calibration error {100 * calibration['expected_calibration_error']:.1f} points, "
        f"{100 * calibration['error_by_chance']:.1f} by chance alone; "
        f"Brier score {in_units(calibration['brier_score'], 3)}"
    )


def _print_drift(results: Mapping[str, Any]) -> None:
    columns = ["answers", "score, sd", "shift, sd", "outside, %", "KS", "KS by chance", "second's score"]
    rows = [
        [
            row["version"],
            in_units(row["score"]),
            in_units(row["shift"]),
            in_percent(row["outside_training_range"]),
            f"{row['ks_distance']:.2f}",
            f"{row['ks_by_chance']:.2f}",
            in_units(row.get("second_score")),
        ]
        for row in results["drift"]
    ]
    print_table(columns, rows, right=columns[1:])
    for step in results.get("goodhart", {}).get("steps", []):
        verdict = "ALARM" if step["verdict"] == "alarm" else step["verdict"]
        changes = f"first {in_units(step['first'])}, second {in_units(step['second'])}"
        say(f"{verdict}: {step['from']} -> {step['to']}: {changes}, {step['n']} prompts")
