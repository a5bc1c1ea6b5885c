"""Likelihoods with shared prompts equal those of one row at a time; attention over branches has the right gradient."""

import random

import pytest
import torch

from camelid.functional import logprobs
from camelid.functional.logprobs import scores_of_targets, token_logprobs
from camelid.models import prefix_tree
from camelid.models import tree_attention as tree_module
from camelid.models.likelihood import row_scores
from camelid.models.model_settings import ModelSettings
from camelid.models.plain import plain_logprobs
from camelid.models.policy import Policy
from camelid.models.prefix_tree import Asked, Kept, Pack, plan
from camelid.models.tree_attention import make_tree, tree_attention


def few_shot_rows(seed: int, header: int = 100, questions: int = 30) -> list[Asked]:
    """Two headers, a question after each, four continuations, some of which share their first tokens."""
    draw = random.Random(seed)

    def tokens(number: int) -> list[int]:
        return [draw.randrange(300) for _ in range(number)]

    headers = [tokens(header), tokens(header // 2)]
    rows = []
    for i in range(questions):
        prompt = headers[i % 2] + tokens(draw.randint(1, 12))
        begin = tokens(draw.randint(0, 2))
        rows += [Asked(prompt + begin + tokens(draw.randint(1, 5)), len(prompt)) for _ in range(4)]
    return rows


def flat(steps, kept=()):
    """Every pack with the tokens that are kept for it."""
    for step in steps:
        if isinstance(step, Kept):
            assert step.position == len(kept)
            yield from flat(step.steps, [*kept, *step.ids])
        else:
            yield list(kept), step


@pytest.mark.parametrize("pack_tokens", [16, 100, 5000])
def test_every_row_is_computed_once_along_its_own_path(pack_tokens):
    rows = few_shot_rows(0)
    found = []
    for kept, pack in flat(plan(rows, pack_tokens)):
        paths = {piece.path[-1]: piece.path for piece in pack.pieces}
        assert sorted(i for p in pack.pieces for i in range(p.first, p.first + p.width)) == list(range(len(pack.ids)))
        for number, places in pack.rows:
            row = rows[number]
            path = next(p for p in paths.values() if places[-1] in p)
            path = path[: path.index(places[-1]) + 1]
            assert kept + [pack.ids[i] for i in path] == row.ids[:-1]
            assert [pack.positions[i] for i in path] == list(range(len(kept), len(row.ids) - 1))
            assert len(places) == len(row.ids) - row.start
            found.append(number)
    assert sorted(found) == list(range(len(rows)))


def test_a_header_is_kept_where_it_serves_more_than_a_pack_and_tokens_are_saved():
    rows = few_shot_rows(0)
    steps = plan(rows, 100)
    assert [len(step.ids) for step in steps if isinstance(step, Kept)] == [100]  # that of 50 is below KEEP_FROM
    computed = sum(len(pack.ids) for _, pack in flat(steps)) + 100
    assert computed < sum(len(row.ids) for row in rows) / 4  # four choices a question, and the header on top


@pytest.mark.parametrize(
    "row", [Asked([], 0), Asked([1], 1), Asked([1, 2], 0), Asked([1, 2], 2)], ids=["empty", "one", "first", "none"]
)
def test_a_row_that_asks_for_nothing_or_for_its_first_token_is_refused(row):
    with pytest.raises(ValueError, match="row 1 asks for"):
        plan([Asked([1, 2], 1), row], 10)


@pytest.mark.parametrize("pack_tokens", [20, 300])
@pytest.mark.parametrize("piece", [7, 512])
def test_shared_prompts_give_what_one_row_at_a_time_gives(llama, pack_tokens, piece, monkeypatch):
    monkeypatch.setattr(prefix_tree, "PIECE", piece)
    policy = Policy.load(llama, ModelSettings(precision="float32"))
    rows = few_shot_rows(1, questions=12)
    rows += [rows[0], Asked(list(range(5, 205)), 1), Asked([3, 4], 1)]  # twice the same; a long text; two tokens
    ticks: list[int] = []
    head = policy.model.get_output_embeddings()
    scores = row_scores(policy.trunk, head, rows, pack_tokens=pack_tokens, tick=ticks.append)
    ours = [float(s.logprobs.double().sum()) for s in scores]
    assert ours == pytest.approx(plain_logprobs(llama, rows), abs=1e-4)
    assert sum(ticks) == len(rows)


def test_coarse_scores_are_those_of_bfloat16_and_the_model_stays_as_it_was(llama):
    policy = Policy.load(llama, ModelSettings(precision="float32"))
    head, rows = policy.model.get_output_embeddings(), few_shot_rows(1, questions=12)
    exact, coarse, again = (row_scores(policy.trunk, head, rows, coarse=c) for c in (False, True, False))
    errors = torch.cat([a.logprobs - b.logprobs for a, b in zip(exact, coarse, strict=True)])
    # Eight bits, through two layers: between a thousandth and a fiftieth of what the tokens differ by.
    assert 1e-3 < errors.std() / torch.cat([scores.logprobs for scores in exact]).std() < 2e-2
    assert all(torch.equal(a.logprobs, b.logprobs) for a, b in zip(exact, again, strict=True))


def test_greedy_tokens_are_told_from_others(tied_llama):
    policy = Policy.load(tied_llama, ModelSettings(precision="float32"))
    ids = [5, 6, 7]
    for _ in range(3):
        with torch.no_grad():
            hidden = policy.model.base_model(torch.tensor([ids]), segment_lengths=[len(ids)]).last_hidden_state
            ids.append(int(policy.model.get_output_embeddings()(hidden[0, -1]).argmax()))
    other = [*ids[:4], (ids[4] + 1) % 300, ids[5]]
    scores = row_scores(policy.trunk, policy.model.get_output_embeddings(), [Asked(ids, 3), Asked(other, 3)])
    assert scores[0].likeliest.tolist() == [True, True, True]
    assert scores[1].likeliest.tolist()[:2] == [True, False]


def test_blocks_of_the_vocabulary_give_the_whole_softmax(monkeypatch):
    monkeypatch.setattr(logprobs, "BLOCK", 16)
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(5, 8) * 3, torch.randn(50, 8), torch.randn(50)
    index, targets = torch.tensor([0, 0, 4, 2]), torch.tensor([0, 49, 7, 16])
    logits = hidden @ weight.T + bias
    targets[3] = logits[2].argmax()
    chosen, likeliest = scores_of_targets(hidden, weight, index, targets, bias=bias)
    torch.testing.assert_close(chosen, token_logprobs(logits[index], targets))
    assert likeliest.tolist() == (logits[index].argmax(-1) == targets).tolist()
    assert likeliest[3]


def _visible(length: int, window: int | None) -> torch.Tensor:
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return (distance >= 0) & (distance < (window or length))


@pytest.mark.parametrize("scores", [tree_module.SCORES, 1], ids=["tiles", "a row at a time"])
@pytest.mark.parametrize("window", [None, 3])
def test_attention_over_branches_passes_the_gradient_of_separate_rows(monkeypatch, scores, window):
    """A prompt of 3 tokens with branches of 2 and 4: its keys collect the gradients of both."""
    monkeypatch.setattr(tree_module, "SCORES", scores)
    torch.manual_seed(0)
    pack = plan([Asked([1, 2, 3, 4, 5, 0], 3), Asked([1, 2, 3, 6, 7, 8, 9, 0], 3)], 100)[0]
    assert isinstance(pack, Pack)
    assert len(pack.ids) == 9
    tree = make_tree(pack.pieces, torch.device("cpu"))
    query, key, value = (torch.randn(1, h, 9, 8, dtype=torch.float64, requires_grad=True) for h in (4, 2, 2))
    shared = tree_attention(0, query, key, value, tree, 0.3, window)[0]
    grads = torch.autograd.grad(shared.square().sum(), (query, key, value))

    places = [[0, 1, 2, 3, 4], [0, 1, 2, 5, 6, 7, 8]]  # the second row's prompt is the first's
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(x[:, :, own] for x in (query, key, value)),
            attn_mask=_visible(len(own), window),
            scale=0.3,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for own in places
    ]
    separate = torch.cat([parts[0], parts[1][3:]])
    torch.testing.assert_close(shared, separate)
    for mine, theirs in zip(grads, torch.autograd.grad(separate.square().sum(), (query, key, value)), strict=True):
        torch.testing.assert_close(mine, theirs)
