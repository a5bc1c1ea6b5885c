"""The words of `camelid models` that change a model's shape; imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def add(models: Any, command: Callable[..., Any]) -> None:
    """`merge`, `convert-gqa` and `add-tokens`."""
    merge = command(models, "merge", "models:merge", "put an adapter into its base model", json=True)
    merge.add_argument("adapter", help="folder of a LoRA adapter, as camelid and peft leave them")
    merge.add_argument("--base", default="", metavar="MODEL", help="base model, where not the one that it names")
    merge.add_argument("--out", required=True, metavar="FOLDER", help="folder of the merged model")
    gqa = command(models, "convert-gqa", "reshape:convert_gqa", "pool key-value heads into fewer groups", json=True)
    gqa.add_argument("--groups", type=int, required=True, metavar="G", help="key-value heads of the result")
    tokens = command(models, "add-tokens", "reshape:add_tokens", "add special tokens, rows at the mean", json=True)
    tokens.add_argument("--token", action="append", default=[], help="a special token; may be given several times")
    tokens.add_argument("--pad", default=None, metavar="TOKEN", help="a special token for padding")
    for verb in (gqa, tokens):
        verb.add_argument("model", help="a model's folder or name")
        verb.add_argument("--out", required=True, metavar="FOLDER", help="folder of the result")
