"""Going on with pretraining: it learns, heals what pooling broke, and says what is wrong with documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.documents import read_documents
from camelid.models.document_rows import document_rows
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.runs import Stage, execute, read_manifest
from camelid.train.sft import token_loss
from camelid.train.uptrain import UptrainSettings, uptrain
from tiny import SENTENCES, byte_level_tokenizer

FULL = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=256)


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("text") / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": s * 2}) + "\n" for s in SENTENCES * 8))
    return file


def train(out: Path, start: Path, documents: Path, **changes) -> tuple[Path, dict]:
    few = {"model": FULL, "window_tokens": 32, "batch_size": 8, "held_out": 6}
    inputs = {"model": start, "documents": documents}
    path = execute([Stage("uptrain", uptrain, UptrainSettings(**few | changes), inputs)], out)["uptrain"]
    return path, read_manifest(path)["metrics"]


@pytest.mark.parametrize(("layout", "rank"), [("apart", 0), ("joined", 0), ("joined", 4)])
def test_the_loss_of_unseen_windows_falls(tied_llama, documents, tmp_path, layout, rank):
    model = FULL.model_copy(update={"lora_rank": rank})
    path, metrics = train(tmp_path, tied_llama, documents, model=model, layout=layout, learning_rate=1e-2, epochs=2)
    first = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    assert metrics["held_out_loss"] < 0.8 * first["held_out_loss"]
    assert (path / "model" / "model.safetensors").exists()


def test_uptraining_heals_pooled_heads(tied_llama, documents, tmp_path):
    """Multi-query from two heads, trained on with the same kind of text as is held out."""
    pooled = tmp_path / "pooled"
    assert main(["models", "convert-gqa", str(tied_llama), "--groups", "1", "--out", str(pooled)]) == 0
    path, metrics = train(tmp_path / "runs", pooled, documents, learning_rate=1e-2)
    first = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    assert metrics["held_out_loss"] < first["held_out_loss"]
    healed = Policy.load(path / "model", FULL)
    assert healed.model.config.num_key_value_heads == 1


def test_every_token_but_the_first_trains(tied_llama, documents, tmp_path):
    rows = document_rows(byte_level_tokenizer(), read_documents([documents]), 32, "joined")
    assert all(len(row.ids) == 32 and list(row.loss_mask) == [False] + [True] * 31 for row in rows)
    _, metrics = train(tmp_path, tied_llama, documents, layout="joined", max_windows=16, held_out=0)
    assert (metrics["num_windows"], metrics["trained_tokens"]) == (16, 16 * 32)


def test_the_logged_loss_is_the_mean_over_all_tokens_of_the_step(tied_llama, documents, tmp_path):
    path, _ = train(tmp_path, tied_llama, documents, held_out=0, batch_size=1000)
    step = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    policy = Policy.load(tied_llama, FULL)
    rows = document_rows(policy.tokenizer, read_documents([documents]), 32, "apart")
    assert step["count"] == sum(len(row.ids) - 1 for row in rows)
    assert step["loss"] == pytest.approx(token_loss(policy, rows), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "changes", "reason"),
    [
        ("", [], "is empty"),
        ('{"text": "a b c"}\nno json\n', [], "row 2 is no JSON"),
        ('{"messages": []}\n', [], "row 1 has no `text`"),
        ('["text"]\n', [], "row 1 has no `text`"),
        ('{"text": " "}\n', [], "row 1 has no `text`"),
        ('{"text": "short"}\n', ["layout=joined", "window_tokens=99"], "fill no window of 99"),
        (
            '{"text": "enough of it"}\n',
            ["separator=<eod>", "window_tokens=8", "layout=joined"],
            "no token of this model",
        ),
        ('{"text": "enough of it"}\n', ["window_tokens=257"], "longer than the model's context of 256"),
        ('{"text": "enough of it"}\n', ["held_out=9", "window_tokens=8"], "leaves nothing to train on"),
    ],
)
def test_documents_that_cannot_be_trained_on_are_errors(tied_llama, tmp_path, capsys, text, changes, reason):
    (tmp_path / "docs.jsonl").write_text(text)
    words = [word for change in ["window_tokens=64", *changes] for word in ("--set", change)]
    files = ["--model", str(tied_llama), "--documents", str(tmp_path / "docs.jsonl"), "--out", str(tmp_path / "out")]
    assert main(["uptrain", *files, *words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("camelid: ") and reason in error


def test_a_tokenizer_without_an_end_needs_a_separator(documents):
    tokenizer = byte_level_tokenizer(end_is_special=False)
    with pytest.raises(ValueError, match="separator="):
        document_rows(tokenizer, read_documents([documents]), 32, "joined")
    assert document_rows(tokenizer, read_documents([documents]), 32, "joined", "<|endoftext|>")
