"""Cut models: which layers stay, what the loss of nothing is, and that healing heals."""

import json
from pathlib import Path

import pytest
import torch

from camelid.models.cutting import kept_layers
from camelid.models.distiller import Distiller
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.train.distill import DistillSettings, train_distill
from camelid.types import Conversation, Message, write_records
from tiny import SENTENCES, write_tiny_llama

MODEL = ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=256)


@pytest.mark.parametrize(
    ("keep", "cut", "kept"),
    [
        # 29/9 = 3.22 between neighbours: 0, 3.2, 6.4, 9.7, 12.9, 16.1, 19.3, 22.6, 25.8, 29
        (10, "spread", [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]),
        (30, "spread", list(range(30))),
        (1, "spread", [0]),
        (4, "first", [0, 1, 2, 3]),
        (5, "ends", [0, 1, 2, 28, 29]),
    ],
)
def test_kept_layers(keep, cut, kept):
    assert kept_layers(30, keep, cut) == kept


@pytest.mark.parametrize("keep", [0, 31])
def test_no_layer_or_more_than_there_are_is_an_error(keep):
    with pytest.raises(ValueError, match="need from 1 to 30"):
        kept_layers(30, keep, "spread")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("teacher") / "model", num_hidden_layers=4)


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("text") / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": s * 2}) + "\n" for s in SENTENCES * 8))
    return file


def distil(tmp_path: Path, teacher: Path, text: Path, *, inputs=None, **changes) -> tuple[Path, dict]:
    few = {"keep_layers": 2, "cut": "spread", "max_tokens": 64, "held_out": 6}
    settings = DistillSettings(model=MODEL, **few | changes)
    given = {"model": teacher, "text": text} | (inputs or {})
    path = execute([Stage("distill", train_distill, settings, given)], tmp_path)["distill"]
    manifest = read_manifest(path)
    assert manifest is not None
    return path, manifest["metrics"]


def test_a_whole_model_is_its_own_teacher(tmp_path, teacher, documents):
    """Nothing cut and hardly anything learnt: the KL stays 0 and the weights what they were."""
    path, metrics = distil(tmp_path, teacher, documents, keep_layers=4, alpha=1.0, learning_rate=1e-12)
    assert metrics["held_out_kl"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["held_out_nll"] == pytest.approx(metrics["teacher_nll"], rel=1e-4)
    before, after = (Policy.load(p, MODEL).model.state_dict() for p in (teacher, path / "model"))
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)


def test_healing_brings_the_student_nearer_to_its_teacher(tmp_path, teacher, documents):
    path, metrics = distil(tmp_path, teacher, documents, alpha=1.0, learning_rate=1e-2, epochs=4)
    first = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    assert metrics["held_out_kl"] < 0.5 * first["held_out_kl"]
    assert metrics["kept_layers"] == [0, 3]
    student = Policy.load(path / "model", MODEL)
    assert student.model.config.num_hidden_layers == 2


def test_distillation_without_a_teacher_is_training_on_the_text(tmp_path, teacher, documents):
    path, _ = distil(tmp_path, teacher, documents, alpha=0.0, learning_rate=1e-2, epochs=2)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert all(row["kl"] == 0 and row["loss"] == pytest.approx(row["cross_entropy"]) for row in steps)
    assert rows[-1]["held_out_nll"] < rows[0]["held_out_nll"]


def test_conversations_train_in_full_even_where_the_answer_is_cut_off(tmp_path, teacher):
    turns = (Message(role="user", content="Tell me more. " * 40), Message(role="assistant", content="It is Paris."))
    write_records(tmp_path / "rows.jsonl", [Conversation(messages=turns, id=str(i)) for i in range(4)])
    _, metrics = distil(tmp_path, teacher, tmp_path / "rows.jsonl", held_out=1)
    assert metrics["trained_tokens"] == 3 * 64


def talks(path: Path, number: int, *, long: int = 0) -> Path:
    """Conversations, the first `long` of them with a prompt too long to answer within 64 tokens."""
    rows = []
    for i in range(number):
        asked = Message(role="user", content="Tell me more. " * (30 if i < long else 1) + f"Of {i}?")
        rows.append(Conversation(messages=(asked, Message(role="assistant", content="It lives in the Andes."))))
    write_records(path, rows)
    return path


def test_the_student_answers_its_share_of_the_prompts(tmp_path, teacher):
    talk = talks(tmp_path / "rows.jsonl", 60, long=20)
    few = {"on_policy": 0.5, "epochs": 2, "batch_size": 10, "held_out": 0, "sampling": {"max_new_tokens": 8}}
    path, metrics = distil(tmp_path, teacher, talk, **few)
    # 2 passes over 40 rows that can be answered, each with probability one half; the others train as they are.
    assert 28 <= metrics["own_answers"] <= 52
    assert sum(1 for _ in (path / "metrics.jsonl").open()) == 12
    _, none = distil(tmp_path, teacher, talk, **few | {"on_policy": 0.0})
    assert (none["own_answers"], none["trained_tokens"] > metrics["trained_tokens"]) == (0, True)


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_a_student_that_only_ever_sees_its_own_answers_comes_nearer_to_its_teacher(tmp_path, teacher, divergence):
    """No row trains as it is: the KL is that of the answers which the student gives at each step."""
    talk = talks(tmp_path / "rows.jsonl", 40)
    more = {"on_policy": 1.0, "alpha": 0.0, "epochs": 6, "batch_size": 8, "learning_rate": 3e-3, "held_out": 0}
    path, metrics = distil(tmp_path, teacher, talk, divergence=divergence, sampling={"max_new_tokens": 8}, **more)
    kl = [json.loads(line)["kl"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert (metrics["own_answers"], metrics["trained_tokens"], len(kl)) == (240, 0, 30)
    assert sum(kl[-5:]) < 0.7 * sum(kl[:5])


def test_a_student_writes_rows_of_which_only_its_answer_trains(teacher):
    optimizer = OptimizerSettings()
    distiller = Distiller.create(
        teacher, MODEL, optimizer, keep=2, cut="spread", temperature=1, alpha=1, divergence="reverse", seed=0
    )
    prompts = [[5, 6, 7], [8, 9]]
    rows = distiller.write(prompts, Sampling(max_new_tokens=4), seed=1)
    assert [row.ids[: len(prompt)] for row, prompt in zip(rows, prompts, strict=True)] == prompts
    assert [row.loss_mask.index(True) for row in rows] == [3, 2]
    assert all(all(row.loss_mask[len(prompt) :]) for row, prompt in zip(rows, prompts, strict=True))
    # Own rows count like others: the loss is a mean over all tokens of the step.
    metrics = distiller.forward_backward(rows[:1], rows[1:])
    assert metrics["count"] == sum(sum(row.loss_mask) for row in rows)
    assert metrics["loss"] == pytest.approx(metrics["kl"])


def test_the_teacher_may_be_another_model_of_one_vocabulary(tmp_path, teacher, documents):
    student = write_tiny_llama(tmp_path / "small", seed=1, hidden_size=16, num_hidden_layers=2)
    more = {"alpha": 1.0, "learning_rate": 1e-2, "epochs": 4}
    path, metrics = distil(tmp_path, student, documents, inputs={"teacher_model": teacher}, **more)
    first = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    assert metrics["held_out_kl"] < 0.8 * first["held_out_kl"]
    tokenizer = json.loads((student / "tokenizer.json").read_text())
    swapped = tokenizer["model"]["vocab"]
    swapped["a"], swapped["b"] = swapped["b"], swapped["a"]
    (student / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="have different tokenizers"):
        distil(tmp_path / "b", student, documents, inputs={"teacher_model": teacher}, **more)


def test_documents_have_no_prompts_to_answer(tmp_path, teacher, documents):
    with pytest.raises(ValueError, match="on_policy wants conversations"):
        distil(tmp_path, teacher, documents, on_policy=0.5)


def test_a_file_of_neither_kind_is_an_error(tmp_path, teacher):
    (tmp_path / "rows.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(ValueError, match="rows need `messages` or `text`"):
        distil(tmp_path, teacher, tmp_path / "rows.jsonl")
