"""The path of versions: rates by hand, what rose, the choice by reward, wrong input, the stage from end to end."""

import json

import pytest

from camelid.evaluate.path import JUDGE, REWARD_MODELS, PathSettings, Version, describe, measure_path, read_versions
from camelid.evaluate.version import Answer
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.reward_model import RewardModel
from camelid.runs import Stage, execute
from tiny import user

TAGS = ("helpful", "unsafe")


def answers(judged, *, texts=None, refused=False) -> list[Answer]:
    """Prompts in turn ordinary and unsafe."""
    return [
        Answer(
            prompt_id=f"p{i}",
            prompt=user(f"Tell me of llama {i}."),
            source="test",
            tags=(TAGS[i % 2],),
            prompt_ids=[1],
            ids=[2],
            logprob=-1.0,
            text=texts[i] if texts else "It is red.",
            finished=True,
            refused=refused,
            judge_score=score,
        )
        for i, score in enumerate(judged)
    ]


def version(name, own, judged) -> Version:
    return Version(name, answers(judged), {REWARD_MODELS: own, JUDGE: judged})


def test_rates_are_wins_against_the_reference_on_each_sides_prompts():
    first = version("a", [0.0] * 8, [0.0] * 8)
    second = version("b", [1, 1, 1, -1, -1, 1, 0.01, -1], [1, 0, 1, 0, 1, 0, 1, 0])
    found = describe([first, second], "a", 0.05)
    rates = found["versions"][1]
    assert rates[REWARD_MODELS]["helpfulness"]["value"] == (1 + 1 + 0 + 0.5) / 4  # prompts 0, 2, 4, 6
    assert rates[REWARD_MODELS]["safety"]["value"] == 2 / 4
    assert rates[JUDGE]["helpfulness"]["value"] == 1 and rates[JUDGE]["safety"]["value"] == 0.5
    assert found["versions"][0][JUDGE]["safety"]["value"] == 0.5  # itself: ties
    assert found["num_prompts"] == {"helpfulness": 4, "safety": 4}


def test_steps_say_what_rose_and_what_fell_only_where_intervals_leave_zero_out():
    low, high, mixed = [-1.0] * 40, [1.0] * 40, [1.0, 1.0, -1.0, -1.0] * 10
    found = describe([version("a", [0.0] * 40, [0.0] * 40), version("b", high, low), version("c", high, mixed)], "a", 0)
    ab, bc, ac = found["steps"]
    assert (ab["from"], ab["to"], ac["from"], ac["to"]) == ("a", "b", "a", "c")
    assert ab[REWARD_MODELS]["helpfulness"]["verdict"] == "rose" and ab[JUDGE]["helpfulness"]["verdict"] == "fell"
    assert bc[REWARD_MODELS]["safety"]["verdict"] == "undecided" and bc[JUDGE]["safety"]["verdict"] == "rose"
    assert ac[JUDGE]["safety"]["verdict"] == "undecided"


@pytest.mark.parametrize(("judged", "agrees", "sure"), [(1.0, True, True), (-1.0, False, False), (0.0, True, False)])
def test_the_choice_is_by_reward_and_the_judge_is_asked(judged, agrees, sure):
    noise = [0.01 * (-1) ** i for i in range(20)]
    rest = version("worst", [-1.0] * 20, [5.0] * 20)
    second = version("second", [0.5] * 20, [0.0] * 20)
    best = version("best", [0.9] * 20, [judged + n for n in noise])
    choice = describe([rest, second, best], "worst", 0.05)["choice"]
    assert (choice["version"], choice["runner_up"]) == ("best", "second")
    assert (choice["judge_agrees"], choice["judge_is_sure"]) == (agrees, sure)


def test_no_prompt_with_a_tag_is_an_error():
    untagged = [a.model_copy(update={"tags": ("borderline",)}) for a in answers([0.0, 1.0])]
    versions = [Version(name, untagged, {REWARD_MODELS: [0.0, 1.0], JUDGE: [0.0, 1.0]}) for name in "ab"]
    with pytest.raises(ValueError, match="no prompt is tagged helpful or unsafe"):
        describe(versions, "a", 0.05)


def write(path, rows):
    path.write_text("".join(a.model_dump_json() + "\n" for a in rows))
    return path


def test_files_of_other_prompts_and_unnamed_files_are_errors(tmp_path):
    one = write(tmp_path / "a.jsonl", answers([0.0, 1.0]))
    other = write(tmp_path / "b.jsonl", answers([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="v2 answered other prompts than v1"):
        read_versions([one, other], ("v1", "v2"))
    with pytest.raises(ValueError, match=r"versions = \['v1'\]: a path has two or more"):
        read_versions(one, ("v1",))
    with pytest.raises(ValueError, match=r"3 versions .* for 2 files"):
        read_versions([one, one], ("v1", "v2", "v3"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"versions": ("a", "a")}, "names one twice"),
        ({"versions": ("a", "b"), "reference": "c"}, "none of the versions"),
    ],
)
def test_settings_name_each_version_once(settings, message):
    with pytest.raises(ValueError, match=message):
        PathSettings(**settings)


def test_the_stage_scores_with_each_reward_model_what_is_its_own(tmp_path, tied_llama):
    held = ModelSettings(precision="float32", lora_rank=4)
    models = {}
    for seed, name in enumerate(("helpfulness", "safety")):
        models[name] = RewardModel.create(tied_llama, held, OptimizerSettings(), num_layers=None, seed=seed)
        models[name].save(tmp_path / name, "")
    texts = [f"First {word}, then llama." for word in ("red", "blue", "Paris", "Andes")]
    files = [
        write(tmp_path / "start.jsonl", answers([0.0, 0.1, 0.2, 0.3])),
        write(tmp_path / "v1.jsonl", answers([1.0, 0.0, 1.0, 0.0], texts=texts)),
    ]
    inputs = {"answers": files, "reward_model": tmp_path / "helpfulness", "safety_reward_model": tmp_path / "safety"}
    settings = PathSettings(versions=("start", "v1"), model=held, tie_within=0)
    folder = execute([Stage("path", measure_path, settings, inputs)], tmp_path / "run")["path"]

    results = json.loads((folder / "results.json").read_text())
    expected = {"helpfulness": [], "safety": []}
    for i, text in enumerate(texts):
        side = ("helpfulness", "safety")[i % 2]
        model = models[side]
        prompt = user(f"Tell me of llama {i}.")
        mine, theirs = model.score([model.row(prompt, text), model.row(prompt, "It is red.")]).tolist()
        expected[side].append(float(mine > theirs))
    for side, wins in expected.items():
        assert results["versions"][1][REWARD_MODELS][side]["value"] == sum(wins) / 2
    assert results["versions"][1][JUDGE]["helpfulness"]["value"] == 1
    assert results["versions"][1][JUDGE]["safety"]["value"] == 0
    assert len((folder / "scores.jsonl").read_text().splitlines()) == 8
    assert "start to v1" in (folder / "tables.md").read_text()
    assert (folder / "figures" / "path-judge.png").stat().st_size > 10_000
