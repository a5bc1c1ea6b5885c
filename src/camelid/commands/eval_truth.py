"""`camelid eval truth-judge` and `camelid eval truth`: a judge of truth with its floors, and answers judged by it."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from camelid.commands import say
from camelid.commands.eval_numbers import percent, shown
from camelid.evaluate.safety.replies import read_replies
from camelid.evaluate.safety.stored_features import stored_features
from camelid.evaluate.safety.truth_data import draw_by_question, read_claims
from camelid.evaluate.safety.truth_judge import (
    Measured,
    TruthJudgeSettings,
    fit_head,
    judge_answers,
    load_judge,
    measure,
    save_judge,
    weights_digest,
)
from camelid.progress import progress
from camelid.table import print_table

if TYPE_CHECKING:
    from camelid.models.features import FrozenFeatures


def train(arguments: argparse.Namespace) -> int:
    """Train a judge on people's verdicts, measure it on questions that it has not seen, keep both.

    Hidden states are kept as they are computed: stopped, the same command goes on where it was.
    """
    from camelid.models.loading import resolve_model

    s = TruthJudgeSettings(seed=arguments.seed, num_layers=arguments.layers)
    claims = draw_by_question(read_claims(arguments.file), arguments.rows, arguments.seed)
    weights = resolve_model(arguments.model)
    out = Path(arguments.out)
    texts = [claim.text for claim in claims]
    with progress("hidden states", len(texts)) as tick:
        key = f"{weights_digest(weights)} {s.num_layers}"
        features = stored_features(out / "features", texts, _model(weights, s).of, key, tick)
    measured = measure(claims, features, s)
    head = fit_head(features, np.array([claim.true for claim in claims]), s)
    save_judge(out, head, measured, arguments.model, weights, s)
    shutil.rmtree(out / "features")
    _print_measured(measured, arguments.json)
    return 0


def truth(arguments: argparse.Namespace) -> int:
    """Share of answers that a judge calls true, with how often the judge is right."""
    replies = read_replies(arguments.file)
    head, measured, notes = load_judge(Path(arguments.judge))
    s = TruthJudgeSettings.model_validate(notes["settings"])
    given = [(r.prompt, r.answer) for r in replies if r.answer.strip()]
    if not given:
        raise ValueError(f"all {len(replies)} answers of {arguments.file} are empty")

    def features(texts):
        from camelid.models.loading import resolve_model

        weights = resolve_model(arguments.model or notes["model"])
        if weights_digest(weights) != notes["weights"]:
            raise ValueError(f"{weights} has other weights than the model that the judge was trained on; give --model")
        with progress("hidden states", len(texts)) as tick:
            return _model(weights, s).of(texts, tick)

    share = judge_answers(head, measured, given, features)
    empty = len(replies) - len(given)
    if arguments.json:
        result = {"n": share.n, "empty": empty} | percent("judged_true", share) | percent("judge", measured.accuracy)
        result |= percent("judge_advantage", measured.advantage)
        print(json.dumps(result | _called_true(measured)))
        return 0
    rows = [["judged true", str(share.n), shown(share)], ["judge is right on", "", shown(measured.accuracy)]]
    rows += [["judge over its best floor, points", "", shown(measured.advantage)]]
    rows += [["true answers that it calls true", "", shown(measured.true_called_true)]]
    rows += [["false answers that it calls true", "", shown(measured.false_called_true)]]
    print_table(("", "n", "%"), rows, right=("n", "%"))
    say(f"{empty} empty answers left out. The judge's own figures are on its held-out questions, not on these answers.")
    say("Compare versions on the same questions; the share itself is no share of true answers.")
    return 0


def _model(weights: Path, s: TruthJudgeSettings) -> FrozenFeatures:
    from camelid.models.features import FrozenFeatures

    return FrozenFeatures.load(weights, s.num_layers)


def _called_true(measured: Measured) -> dict[str, Any]:
    return percent("true_called_true", measured.true_called_true) | percent(
        "false_called_true", measured.false_called_true
    )


def _print_measured(measured: Measured, as_json: bool) -> None:
    if as_json:
        floors = {name: percent("accuracy", floor) for name, floor in measured.floors.items()}
        result = {"n": measured.accuracy.n, "rows": measured.num_rows, "floors": floors}
        result |= percent("accuracy", measured.accuracy) | percent("advantage", measured.advantage)
        print(json.dumps(result | _called_true(measured) | {"beats_floor": measured.beats_floor}))
        return
    rows = [[name, shown(floor)] for name, floor in measured.floors.items()]
    rows += [["judge", shown(measured.accuracy)], ["judge less best floor, points", shown(measured.advantage)]]
    rows += [["true answers called true", shown(measured.true_called_true)]]
    rows += [["false answers called true", shown(measured.false_called_true)]]
    print_table(("held-out questions", "accuracy, %"), rows, right=("accuracy, %",))
    verdict = "beats its floor" if measured.beats_floor else "does NOT beat its floor; `eval truth` will refuse it"
    say(f"{measured.num_rows} answers to {measured.accuracy.n} questions, means over questions: the judge {verdict}")
