"""The words of `camelid compare`; what it does is in `compare`.

Imports nothing else of ours, so that `camelid --help` stays quick.
"""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(commands: Any, command: Command) -> None:
    """`camelid compare` with its options."""
    compare = command(commands, "compare", "compare:compare", "two models: how they write, what they know", json=True)
    compare.add_argument("a", help="a file of answers, or a model")
    compare.add_argument("b", help="another; the reference, too, where none is named")
    compare.add_argument("--reference", default="", metavar="FILE", help="the teacher's answers to the same prompts")
    compare.add_argument("--facts", nargs=2, default=[], metavar=("DIR_A", "DIR_B"), help="benchmark results of each")
    compare.add_argument("--judge", default="", metavar="MODEL", help="a reward model: who wins against the reference")
    compare.add_argument(
        "--prompts", default="", metavar="FILE", help="what models are asked (default: the reference's)"
    )
    compare.add_argument("--max-prompts", type=int, default=0, help="ask models only so many, drawn by seed 0 (0: all)")
    compare.add_argument("--max-new-tokens", type=int, default=256, help="length at which a model's answers are cut")
    compare.add_argument("--temperature", type=float, default=0.7, help="of a model's answers; 0 takes the likeliest")
    compare.add_argument("--out", default="", metavar="DIR", help="write comparison.json and the figures there")
