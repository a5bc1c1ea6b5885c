"""Training steps: camelid against TRL on the same rows of tokens, the same number of optimizer steps.

    python benchmarks/training.py --what sft --data DATA --model MODEL [--rows 300] [--pieces 6] [--out FOLDER]

`--what`: sft and lora (LIMA and Alpaca rows mixed, assistant turns trained; more conversations with --add FILE), reward
and dpo (HH pairs). Ours computes in bfloat16 over float32 weights and moments. TRL runs at the fastest of its formats
and batch sizes tried on some rows first: pure bfloat16 (weights and moments too), bfloat16 over float32 weights,
float32.

Tokenising is not timed (`benchmarks/data.py` does that). Real tokens are counted: what TRL pads is its own affair, and
what we compute once for two rows counts twice. `peak_share`: operations that these tokens need (`operations`), over
those of a bare bfloat16 product in the same time.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from alternate import SIDES, Side, compared, matmul_peak, parser, publish, serve, take_turns
from training_sides import MAX_TOKENS, PAIRS, Ours, Theirs

FILES = {
    "sft": ("conversations/lima.json", "conversations/alpaca_random_9k.json"),
    "lora": ("conversations/lima.json", "conversations/alpaca_random_9k.json"),
    "reward": ("preferences/hh_harmless_1800.jsonl.gz",),
    "dpo": ("preferences/hh_harmless_1800.jsonl.gz",),
}
TRIAL = 16
TRIED = [("bfloat16", 2), ("bfloat16", 4), ("bfloat16", 8), ("autocast", 4), ("float32", 4)]
"""TRL's formats and rows a pass."""


def read_rows(chosen: Any) -> list[Any]:
    """(ids, loss mask) of conversations, or pairs of them, in a seeded order, mixed from the files in equal parts."""
    from transformers import AutoTokenizer

    from camelid.collect.readers import read
    from camelid.models.chat import load_chat_format
    from camelid.types import Conversation, Preference

    chat = load_chat_format(AutoTokenizer.from_pretrained(chosen.model), "model")
    files = [Path(chosen.data) / file for file in FILES[chosen.what]] + [Path(file) for file in chosen.add]
    draw, rows = random.Random(0), []
    for file in files:
        want = Preference if chosen.what in PAIRS else Conversation
        wanted = -(-chosen.rows // len(files))
        found = read(file, want=want).rows
        made = (
            _pair(chat, row) if chosen.what in PAIRS else _row(chat, row.messages, "assistant")
            for row in draw.sample(found, len(found))
        )
        rows += islice((row for row in made if row is not None), wanted)
    draw.shuffle(rows)
    return rows[: chosen.rows]


def _row(chat: Any, messages: Any, train_on: str) -> tuple[list[int], list[bool]] | None:
    """None where nothing would train, since the first answer comes too late."""
    try:
        rendered = chat.render(messages, train_on=train_on, max_tokens=MAX_TOKENS)
    except ValueError:
        return None
    return list(map(int, rendered.ids)), list(map(bool, rendered.loss_mask))


def _pair(chat: Any, row: Any) -> list[tuple[list[int], list[bool]]] | None:
    from camelid.types import Message

    wholes = [(*row.prompt, Message(role="assistant", content=text)) for text in (row.chosen, row.rejected)]
    made = [_row(chat, whole, "last") for whole in wholes]
    return [row for row in made if row] if all(made) else None


def answer(side: Any, rows: list[Any], job: dict[str, Any]) -> dict[str, Any]:
    return side.train([rows[number] for number in job.pop("rows")], **job)


def operations(what: str, model: str, rows: list[Any]) -> float:
    """Multiplications and additions that the tokens need without sharing; the head only where something is predicted.

    Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B): 6 a weight and token, and 12 a layer, token, number of
    a query and token seen, of which a token sees half of its row on average. Frozen weights have no gradient: 4. DPO
    needs the reference's forward pass as well, a third of that.
    """
    from camelid.models.shape import Shape

    shape = Shape.read(Path(model))
    flat = [row for pair in rows for row in pair] if what in PAIRS else rows
    lengths = [len(ids) for ids, _ in flat]
    seen = sum(2 * shape.layers * shape.heads * shape.head_width * length**2 / 2 for length in lengths)
    head = 0 if what == "reward" else shape.head_parameters * sum(sum(mask) for _, mask in flat)
    weights = shape.trunk_parameters * sum(lengths) + head
    if what == "lora":
        return 4 * weights + 6 * seen
    return (8 if what == "dpo" else 6) * (weights + seen)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--what", required=True, choices=sorted(FILES))
    asked.add_argument("--add", nargs="*", default=[], metavar="FILE", help="more conversations to mix in")
    asked.add_argument("--rows", type=int, default=300)
    asked.add_argument("--pieces", type=int, default=6)
    asked.add_argument("--peer", nargs=2, metavar=("FORMAT", "SIZE"), help="TRL's best, where it is known")
    chosen = asked.parse_args()
    rows = read_rows(chosen)
    if chosen.side:
        return serve(partial(answer, {"ours": Ours, "theirs": Theirs}[chosen.side](chosen.what, chosen.model), rows))
    more = ["--what", chosen.what, "--model", chosen.model, "--data", chosen.data, "--rows", str(chosen.rows)]
    more += ["--add", *chosen.add] if chosen.add else []
    sides = {"ours": Side(__file__, "ours", more)}
    trial = list(range(TRIAL))
    tried: dict[tuple[str, int], float] = {}
    for precision, size in [(chosen.peer[0], int(chosen.peer[1]))] if chosen.peer else TRIED:
        side = Side(__file__, "theirs", more)  # anew for each, or the memory would be that of the hungriest
        tried[precision, size] = side.ask(rows=trial, precision=precision, size=size)["seconds"]
        side.close()
    print(f"TRL, {TRIAL} rows, seconds by format and batch: {tried}", file=sys.stderr, flush=True)
    precision, size = min(tried, key=lambda key: tried[key])
    sides["theirs"] = Side(__file__, "theirs", more)
    sides["ours"].ask(rows=trial)  # both have taken a step before the clock starts
    sides["theirs"].ask(rows=trial, precision=precision, size=size)
    pieces = [list(range(len(rows)))[number :: chosen.pieces] for number in range(chosen.pieces)]
    peak = matmul_peak("bfloat16")
    settings: dict[str, dict[str, Any]] = {"ours": {}, "theirs": {"precision": precision, "size": size}}
    replies = take_turns(sides, [{"rows": piece} for piece in pieces], settings)
    peak = max(peak, matmul_peak("bfloat16"))
    for side in sides.values():
        side.close()
    import trl

    pairs = chosen.what in PAIRS
    tokens = sum(len(ids) for row in rows for ids, _ in (row if pairs else [row]))
    result = compared(replies, len(rows) if pairs else tokens, "pairs" if pairs else "real tokens")
    seconds = sum(reply["seconds"] for reply in replies["ours"])
    publish(
        {
            "benchmark": f"training.{chosen.what}",
            "peer_name": f"TRL {trl.__version__}, {precision}, {size} rows a pass",
            **result,
            "rows": len(rows),
            "tokens": tokens,
            "first_losses": {who: replies[who][0]["loss"] for who in SIDES},
            "peak_share": operations(chosen.what, chosen.model, rows) / seconds / peak,
            "peak_gflops": peak / 1e9,
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
