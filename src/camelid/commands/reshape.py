"""`camelid models convert-gqa` and `add-tokens`: a model changed in its shape, written to a folder of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from camelid.commands import print_json, say
from camelid.models.loading import resolve_model


def convert_gqa(arguments: argparse.Namespace) -> int:
    """Pool key-value heads and print the new model's folder."""
    from camelid.models.grouping import cache_bytes_per_token, group_key_value_heads
    from camelid.models.surgery import check_free, open_model, write_model

    check_free(Path(arguments.out))
    source = resolve_model(arguments.model)
    model, tokenizer = open_model(source)
    before = _attention_numbers(model, cache_bytes_per_token(model))
    group_key_value_heads(model, arguments.groups)
    after = _attention_numbers(model, cache_bytes_per_token(model))
    what = f"{before['key_value_heads']} key-value heads pooled into {arguments.groups} (arXiv:2305.13245)."
    write_model(model, tokenizer, source, Path(arguments.out), what)
    if arguments.json:
        print_json({"model": arguments.out, "before": before, "after": after})
        return 0
    for name in before:
        say(f"{name.replace('_', ' ')}: {before[name]:,} -> {after[name]:,}")
    say("pooling costs quality; go on training before use (`camelid uptrain`, 5% of the pretraining in the paper)")
    print(arguments.out)
    return 0


def add_tokens(arguments: argparse.Namespace) -> int:
    """Add special tokens to tokenizer, embedding and head, and print the new model's folder."""
    from camelid.models.new_tokens import add_special_tokens
    from camelid.models.surgery import check_free, open_model, write_model

    check_free(Path(arguments.out))
    source = resolve_model(arguments.model)
    model, tokenizer = open_model(source)
    ids = add_special_tokens(model, tokenizer, arguments.token, arguments.pad)
    generation = {"pad_token_id": ids[arguments.pad]} if arguments.pad is not None else {}
    what = f"Added special tokens: {', '.join(f'`{token}` ({number})' for token, number in ids.items())}."
    write_model(model, tokenizer, source, Path(arguments.out), what, generation)
    if arguments.json:
        print_json({"model": arguments.out, "tokens": ids, "vocabulary": model.config.vocab_size})
        return 0
    for token, number in ids.items():
        say(f"{token}: id {number}")
    say("new rows are the mean of the old ones; only full fine-tuning trains them (--set model.lora_rank=0)")
    print(arguments.out)
    return 0


def _attention_numbers(model: Any, cache_bytes: int) -> dict[str, int]:
    return {
        "key_value_heads": model.config.num_key_value_heads,
        "cache_bytes_per_token": cache_bytes,
        "parameters": model.num_parameters(),
    }
