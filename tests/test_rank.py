"""The stage `rank`: ranks by hand, ties, what leaves no ranking, and the stage from end to end."""

import pytest

from camelid.annotate.rankings import RankSettings, rank_answers, ranks_of
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.models.sampling import Sampling
from camelid.runs import Stage, execute, read_manifest
from camelid.types import Prompt, Ranking, read_records, write_records
from tiny import user

HELD = ModelSettings(precision="float32", lora_rank=4)


@pytest.mark.parametrize(
    ("scores", "tie_within", "ranks"),
    [
        ([1.0, 3.0, 2.0], 0.1, (3, 1, 2)),
        ([1.0, 1.05, 2.0], 0.1, (2, 2, 1)),
        ([0.0, 0.09, 0.18, 0.27], 0.1, (1, 1, 1, 1)),  # each is as good as the next better one
        ([5.0, 5.0], 0.0, (1, 1)),
    ],
)
def test_ranks_and_ties(scores, tie_within, ranks):
    assert ranks_of(scores, tie_within) == ranks


@pytest.fixture
def inputs(tied_llama, tmp_path):
    RewardModel.create(tied_llama, HELD, OptimizerSettings(), num_layers=None, seed=0).save(tmp_path / "reward", "")
    rows = [Prompt(prompt=user(f"Tell me of llama {i}."), tags=("unsafe",) if i % 2 else ()) for i in range(6)]
    write_records(tmp_path / "prompts.jsonl", rows)
    return {"model": tied_llama, "reward_model": tmp_path / "reward", "prompts": tmp_path / "prompts.jsonl"}


def ranked(tmp_path, inputs, **changes):
    values = {"model": HELD, "num_samples": 4, "tie_within": 0.0, "sampling": Sampling(max_new_tokens=6)}
    settings = RankSettings(**values | changes)
    folder = execute([Stage("rank", rank_answers, settings, inputs)], tmp_path / "run")["rank"]
    return read_records(folder / "rankings.jsonl", Ranking), read_manifest(folder)["metrics"]


def test_answers_are_in_the_order_of_the_annotators_scores(tmp_path, inputs):
    rankings, metrics = ranked(tmp_path, inputs)
    assert len(rankings) == metrics["num_rankings"] == 6
    assert metrics["num_pairs"] == sum(len(r.pairs) for r in rankings)
    annotator = RewardModel.load(inputs["reward_model"], ModelSettings(precision="float32"))
    for ranking in rankings:
        assert len(set(ranking.completions)) == len(ranking.completions) >= 2
        scores = annotator.score([annotator.row(ranking.prompt, text) for text in ranking.completions]).tolist()
        by_score = [rank for _, rank in sorted(zip(scores, ranking.ranks, strict=True), reverse=True)]
        assert by_score == sorted(ranking.ranks)
    assert {r.kind for r in rankings} == {"helpfulness", "safety"}


def test_where_everything_is_tied_an_error_says_so(tmp_path, inputs):
    with pytest.raises(ValueError, match="none of 6 prompts has answers of two ranks"):
        ranked(tmp_path, inputs, tie_within=1e6)
