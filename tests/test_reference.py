"""The reference's log-probabilities: the start model's, kept over a kill, found again where a file is damaged."""

from __future__ import annotations

import json

import pytest
import torch

from camelid.checkpoints import Checkpoints
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.runs import Run, Settings
from camelid.train.reference import CHUNK, summed, summed_reference, with_reference
from test_batch import own_logprobs, random_rows

MODEL = ModelSettings(precision="float32", micro_batch_tokens=128)
ROWS = random_rows([6 + (7 * i) % 23 for i in range(2 * CHUNK + 3)])


class Counting:
    """A policy that counts the rows that it looks at."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.seen = 0

    def logprobs(self, rows):
        self.seen += len(rows)
        return self.policy.logprobs(rows)


@pytest.fixture
def policy(tied_llama) -> Counting:
    return Counting(Policy.load(tied_llama, MODEL))


def run_in(folder) -> Run:
    return Run(folder / "dpo-0", Settings(), {}, Checkpoints(folder / "dpo-0" / "checkpoints"))


def same(a, b) -> bool:
    return all(torch.equal(x.values["ref_logprobs"], y.values["ref_logprobs"]) for x, y in zip(a, b, strict=True))


def test_they_are_the_models_own(policy, tied_llama, tmp_path):
    rows = with_reference(run_in(tmp_path), policy, ROWS)
    for before, after in zip(ROWS[:3], rows[:3], strict=True):
        torch.testing.assert_close(after.values["ref_logprobs"], own_logprobs(tied_llama, before), atol=1e-4, rtol=1e-4)
    assert torch.equal(summed_reference(rows), torch.stack([row.values["ref_logprobs"].sum() for row in rows]))
    torch.testing.assert_close(summed(policy, rows), summed_reference(rows), atol=1e-4, rtol=1e-5)


def test_a_kill_costs_the_chunk_that_it_cut(policy, tmp_path):
    undisturbed = with_reference(run_in(tmp_path / "a"), policy, ROWS)
    with_reference(run_in(tmp_path / "b"), policy, ROWS)
    file = tmp_path / "b/dpo-0/checkpoints/reference.jsonl"
    file.write_bytes(file.read_bytes()[:-40])  # the last chunk, of 3 rows, is half there
    policy.seen = 0
    assert same(with_reference(run_in(tmp_path / "b"), policy, ROWS), undisturbed)
    assert policy.seen == 3
    assert same(with_reference(run_in(tmp_path / "b"), policy, ROWS), undisturbed)
    assert policy.seen == 3


@pytest.mark.parametrize("damage", ["flipped", "no JSON", "other JSON"])
def test_a_damaged_chunk_is_computed_again(policy, tmp_path, damage):
    undisturbed = with_reference(run_in(tmp_path), policy, ROWS)
    file = tmp_path / "dpo-0/checkpoints/reference.jsonl"
    first, *others = file.read_text().splitlines()
    text = json.loads(first)["float32"]
    swapped = {
        "flipped": first.replace(text, ("B" if text[0] == "A" else "A") + text[1:]),
        "no JSON": "{",
        "other JSON": '{"x": 1}',
    }
    file.write_text("\n".join([swapped[damage], *others]) + "\n")
    policy.seen = 0
    assert same(with_reference(run_in(tmp_path), policy, ROWS), undisturbed)
    assert policy.seen == CHUNK
