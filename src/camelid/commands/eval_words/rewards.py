"""Reward models as the thing evaluated."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    text = "a reward model: accuracy with length taken out, calibration, drift, a second model's opinion"
    reward = command(verbs, "reward", "eval_reward:reward", text, json=True)
    reward.add_argument(
        "--preferences", required=True, nargs="+", metavar="FILE", help="judged pairs, in any known format"
    )
    reward.add_argument("--model", default="", metavar="REWARD_MODEL", help="folder of the reward model")
    reward.add_argument(
        "--scores", default="", metavar="FILE", help="in place of a model: rows of id, chosen and rejected score"
    )
    reward.add_argument("--train", default=[], nargs="+", metavar="FILE", help="pairs that it was trained on")
    reward.add_argument(
        "--fresh", default=[], nargs="+", metavar="FILE", help="answers of versions, oldest first, for drift"
    )
    reward.add_argument(
        "--second", default="", metavar="REWARD_MODEL", help="another reward model, for Goodhart's alarm"
    )
    reward.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    reward.add_argument("--out", default="runs/single", metavar="FOLDER", help="folder of the run")

    best = command(
        verbs, "best-of-n", "eval_best_of_n:best_of_n", "what the best of N samples is worth, along N", json=True
    )
    best.add_argument("file", help="scored samples: rows of prompt_id and score, or a list of K scores a prompt")
    best.add_argument("--key", default="score", help="the score's name in a row (default: score)")
    best.add_argument("--second", default="", metavar="FILE", help="a second model's scores of the same samples")
    best.add_argument("--second-key", default="", metavar="KEY", help="the second score's name in a row")
