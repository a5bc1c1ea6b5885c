"""`camelid models`, `camelid chat` and `camelid show-mask`: models fetched, talked to, and what they are trained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from camelid.commands import print_json, say
from camelid.commands.runs import newest_model
from camelid.models.loading import KNOWN, resolve_model, tokenizer_folder, weights_folder
from camelid.table import print_table


def list_known(arguments: argparse.Namespace) -> int:
    """Models that have a name of ours."""
    rows = [{"model": name, "about": model.note, "licence": model.licence} for name, model in KNOWN.items()]
    if arguments.json:
        print_json(rows)
    else:
        print_table(("model", "about", "licence"), [list(row.values()) for row in rows])
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Fetch a model and print its folder."""
    print(resolve_model(arguments.model))
    return 0


def merge(arguments: argparse.Namespace) -> int:
    """Write an adapter's base model with the adapter in it, in the format of the base model's file."""
    adapter, out = Path(arguments.adapter).expanduser(), Path(arguments.out)
    if out.exists():
        raise ValueError(f"{out} is there already; name a new folder")
    base = (
        resolve_model(arguments.base) if arguments.base else weights_folder(adapter)
    )  # the folder itself if it is none
    from camelid.models.merging import merge_to_folder

    sizes = merge_to_folder(adapter, base, out)
    if arguments.json:
        print_json({"folder": str(out), "base": str(base), **sizes._asdict()})
    else:
        say(f"adapter of {sizes.adapter_bytes / 1e6:.1f} MB in a model of {sizes.model_bytes / 1e6:.1f} MB")
        print(out)
    return 0


def chat(arguments: argparse.Namespace) -> int:
    """Talk to a model, or to the newest one of a run."""
    folder = Path(arguments.model)
    model = newest_model(folder) if (folder / "run.json").exists() else resolve_model(arguments.model)
    if model is None:
        raise ValueError(f"no stage of {folder} has left a language model yet")
    from camelid.models.sampling import EngineSettings, Sampling
    from camelid.serve.chat import Rerank
    from camelid.serve.chat import chat as talk

    sampling = Sampling(
        temperature=arguments.temperature,
        max_new_tokens=arguments.max_new_tokens,
        engine=EngineSettings(weights="int8" if arguments.int8 else "own"),
    )
    reward, rules = _models_that_rerank(arguments)
    talk(model, sampling, Rerank(arguments.rerank, reward, rules, arguments.show_all) if reward else None)
    return 0


def _models_that_rerank(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """The reward model and the rule model. Raises ValueError for words that only make sense together."""
    if arguments.rerank < 1:
        raise ValueError(f"--rerank {arguments.rerank}: draw at least 2 answers to choose among, or 1 for no choice")
    if (arguments.rerank > 1) != bool(arguments.reward):
        raise ValueError("--rerank N (2 or more) and --reward MODEL go together: the reward model chooses among N")
    if not arguments.reward and (arguments.rules or arguments.show_all):
        raise ValueError(f"{'--rules' if arguments.rules else '--show-all'} wants --rerank N and --reward MODEL")
    reward = resolve_model(arguments.reward) if arguments.reward else None
    return reward, resolve_model(arguments.rules) if arguments.rules else None


def show_mask(arguments: argparse.Namespace) -> int:
    """Print conversations with their trained tokens coloured."""
    from rich.console import Console
    from transformers import AutoTokenizer

    from camelid.collect.readers import read
    from camelid.models.chat import load_chat_format, what_trains
    from camelid.models.show_mask import show_mask as colour
    from camelid.types import Conversation

    rows = read(Path(arguments.file), want=Conversation).rows
    if not rows:
        raise ValueError(f"{arguments.file} holds no conversation; `camelid data check` says why")
    tokenizer: Any = AutoTokenizer.from_pretrained(_tokenizer_folder(arguments.model), trust_remote_code=False)
    chat_format = load_chat_format(tokenizer, arguments.chat_format)
    console = Console()
    for row in rows[: arguments.rows]:
        rendered = chat_format.render(row.messages, train_on=what_trains(row, arguments.train_on))
        console.rule(f"{row.id}: {sum(rendered.loss_mask)} of {len(rendered.ids)} tokens train")
        console.print(colour(rendered, tokenizer))
    return 0


def _tokenizer_folder(name: str) -> Path:
    """A folder with a tokenizer is enough; any other model is resolved as everywhere."""
    folder = Path(name).expanduser()
    return folder if (folder / "tokenizer_config.json").exists() else tokenizer_folder(resolve_model(name))
