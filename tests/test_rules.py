"""Rules and judgements as files, ours and others', and judgements made of labels that there are."""

from __future__ import annotations

import json

import pytest

from camelid.cli import main
from camelid.collect.readers import look
from camelid.evaluate.rules.attacks import attacks_on, read_attacks
from camelid.rules import choose_rules, read_judgements, read_rules
from camelid.types import Preference, RuleJudgement, read_records, write_records
from real_data import DATA, needs_data
from rule_rows import JUDGEMENTS, RULES, write
from tiny import user


def test_our_rules_and_attacks_are_whole():
    rules = read_rules()
    assert len(rules) == 12
    assert {rule.topic for rule in rules.values()} >= {"harm", "hate", "advice", "identity", "truth", "helpfulness"}
    assert all(rule.text.startswith("Do not ") and rule.licence and rule.source for rule in rules.values())
    attacks = read_attacks()
    assert {attack.rule for attack in attacks} == {"", *rules}
    for rule in rules.values():
        own = attacks_on(rule, attacks)
        assert own[0].rule == rule.id
        assert len(own) == 6


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"id": "a", "text": "Do not."}, {"id": "a", "text": "Never."}], "two rules have the id 'a'"),
        ([{"id": "a", "text": "Do not."}, {"id": "b", "text": "do  NOT."}], "rules 'a' and 'b' say the same"),
        ([{"id": "a", "text": "  "}], "line 1: not a Rule: rule 'a' has no text"),
        ([{"id": "a", "words": "x"}], "line 1: not a Rule"),
        ([], "holds no rule"),
    ],
)
def test_wrong_files_of_rules_say_so(tmp_path, rows, error):
    path = tmp_path / "rules.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=error):
        read_rules(path)


def test_rules_are_chosen_by_id():
    assert choose_rules(RULES, ()) == RULES
    assert choose_rules(RULES, ["no-red", "no-red"]) == RULES[1:]
    with pytest.raises(ValueError, match="no rule 'no-green'; there are no-paris, no-red"):
        choose_rules(RULES, ["no-green"])


def test_judgements_come_back_and_name_known_rules(tmp_path):
    files = write(tmp_path)
    assert read_judgements([files["judgements"]], read_rules(files["rules"])) == JUDGEMENTS
    assert look(files["judgements"]) == ("camelid", RuleJudgement)
    with pytest.raises(ValueError, match=r"is about rule 'no-paris', which is none of the 12 rules"):
        read_judgements([files["judgements"]], read_rules())
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="no judgement in"):
        read_judgements([tmp_path / "empty.jsonl"], read_rules())


@pytest.mark.parametrize(
    ("change", "error"),
    [({"violated": 1.5}, "violated is 1.5; it must lie in"), ({"rule": ""}, "rule is empty")],
)
def test_judgements_that_make_no_sense(change, error):
    with pytest.raises(ValueError, match=error):
        RuleJudgement.model_validate(JUDGEMENTS[0].model_dump() | change)


# --- judgements of labels ---


def make(tmp_path, capsys, *words: str) -> list[RuleJudgement]:
    assert main(["rule-judgements", *words, "--out", str(tmp_path / "runs")]) == 0
    return read_records(f"{capsys.readouterr().out.strip()}/judgements.jsonl", RuleJudgement)


def test_labels_of_safety_and_pairs(tmp_path, capsys):
    labelled = {"chosen_safe": True, "rejected_safe": False, "annotator": "p1", "source": "s", "licence": "MIT"}
    rows = [
        Preference(prompt=user("How?"), chosen="No.", rejected="So.", **labelled),
        Preference(prompt=user("What?"), chosen="This.", rejected="That."),
    ]
    write_records(tmp_path / "pairs.jsonl", rows)
    found = make(tmp_path, capsys, "--preferences", str(tmp_path / "pairs.jsonl"))
    assert [(j.completion, j.rule, j.violated) for j in found] == [
        ("No.", "no-harmful-help", 0),
        ("So.", "no-harmful-help", 1),
    ]
    assert all((j.annotator, j.source, j.licence) == ("p1", "s", "MIT") and j.proxy for j in found)
    settings = ["--set", "safety_rule=", "--set", "rejected_breaks=on-topic"]
    found = make(tmp_path, capsys, "--preferences", str(tmp_path / "pairs.jsonl"), *settings)
    assert [(j.completion, j.rule, j.violated) for j in found] == [
        (text, "on-topic", broken) for text, broken in (("No.", 0), ("So.", 1), ("This.", 0), ("That.", 1))
    ]


def test_labels_of_refusals_stand_for_two_rules(tmp_path, capsys):
    """Two raters a row, averaged; one answer may keep one rule and break the other."""
    complied, refused, partly = "1_full_compliance", "2_full_refusal", "3_partial_refusal"
    rows = [
        ("homonyms", complied, complied, 0, 0),
        ("homonyms", refused, partly, 0, 1),
        ("homonyms", complied, partly, 0, 0.5),
        ("contrast_homonyms", refused, refused, 0, 0),
        ("contrast_homonyms", complied, complied, 1, 0),
        ("contrast_homonyms", complied, partly, 0.75, 0),
    ]
    lines = [f"{i},{kind},question {i},answer {i},{a},{b}" for i, (kind, a, b, _, _) in enumerate(rows)]
    header = "id,type,prompt,completion,annotation_1,annotation_2"
    (tmp_path / "replies.csv").write_text("\n".join([header, *lines, f"9,unknown,q,a,{complied},{complied}"]))
    found = {(j.completion, j.rule): j for j in make(tmp_path, capsys, "--replies", str(tmp_path / "replies.csv"))}
    assert len(found) == 2 * len(rows)  # the last row's kind of prompt is not known
    for i, (_, _, _, harm, needless) in enumerate(rows):
        assert found[f"answer {i}", "no-harmful-help"].violated == harm
        assert found[f"answer {i}", "no-needless-refusal"].violated == needless


def test_labels_of_truth(tmp_path, capsys):
    rows = [
        {"question": "Sky?", "answer": "Green.", "true": "no"},
        {"question": "Sky?", "answer": "Blue.", "true": "yes"},
    ]
    (tmp_path / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = make(tmp_path, capsys, "--claims", str(tmp_path / "claims.jsonl"))
    assert [(j.prompt[0].content, j.completion, j.violated) for j in found] == [
        ("Sky?", "Green.", 1),
        ("Sky?", "Blue.", 0),
    ]
    assert {j.rule for j in found} == {"no-falsehood"}


def test_what_has_no_label_and_rules_that_are_not_there(tmp_path, capsys):
    write_records(tmp_path / "pairs.jsonl", [Preference(prompt=user("What?"), chosen="This.", rejected="That.")])
    words = ["rule-judgements", "--preferences", str(tmp_path / "pairs.jsonl"), "--out", str(tmp_path / "runs")]
    assert main(words) == 1
    assert "no label in what was given (preferences)" in capsys.readouterr().err
    assert main([*words, "--set", "rejected_breaks=no-such"]) == 1
    assert "no rule 'no-such'" in capsys.readouterr().err


@needs_data
def test_real_labels_give_three_rules_with_both_kinds(tmp_path, capsys):
    replies = [str(path) for path in sorted((DATA / "safety/xstest_completions").glob("*.csv"))]
    neighbours = DATA / "preferences/llmbar/LLMBar_Adversarial_Neighbor.json"
    claims = DATA / "benchmarks/truthfulqa_judge_truth.jsonl"
    assert (
        main(["import", "--data", str(neighbours), "--set", "kind=preferences", "--out", str(tmp_path / "data")]) == 0
    )
    pairs = f"{capsys.readouterr().out.strip()}/rows.jsonl"
    more = ["--set", "rejected_breaks=on-topic", "--set", "max_rows=300"]
    found = make(tmp_path, capsys, "--replies", *replies, "--claims", str(claims), "--preferences", pairs, *more)
    for rule, least in (("no-needless-refusal", 50), ("no-falsehood", 100), ("on-topic", 100)):
        own = [j for j in found if j.rule == rule]
        assert min(sum(j.violated > 0.5 for j in own), sum(j.violated < 0.5 for j in own)) >= least
    assert all(j.proxy for j in found)
