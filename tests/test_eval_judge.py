"""`camelid eval judge` against a judge on loopback: biases, nonsense, both orders, resuming, cost, Vicuna's reviews."""

import json
import re
from itertools import cycle
from pathlib import Path

import pytest

from camelid.cli import main
from camelid.commands.eval_words import judges
from camelid.evaluate.judged import JudgedSettings
from camelid.judges.ways import WAYS
from chat_server import ChatServer, Response, says
from real_data import DATA, needs_data

FIRST = {"lima": "A", "vicuna": "9 2", "mt-bench": "[[A]]", "alpaca-eval": "m", "alpaca-eval-weighted": "m"}
SECOND = {"lima": "B", "vicuna": "2 9", "mt-bench": "[[B]]", "alpaca-eval": "M", "alpaca-eval-weighted": "M"}
PAIRS = [("why?", "because of that", "no"), ("how?", "so", "like this, then so"), ("when?", "soon", "in a while, say")]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def files(tmp_path):
    """Answers of two systems in AlpacaEval's form, (first, second)."""
    for index, name in ((1, "ours"), (2, "theirs")):
        rows = [{"instruction": p[0], "output": p[index], "generator": name, "dataset": "d"} for p in PAIRS]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return str(tmp_path / "ours.json"), str(tmp_path / "theirs.json")


def run(capsys, *words, code=0):
    """(stdout, stderr) of `camelid eval judge WORDS`."""
    assert main(["eval", "judge", *map(str, words)]) == code
    return capsys.readouterr()


def judged(capsys, tmp_path, answer, files, way, *words):
    """The numbers of a judge that answers so."""
    with ChatServer(answer) as server:
        sets = ["--set", f"remote.base_url={server.url}", "--set", "remote.model=j", "--set", "remote.max_retries=0"]
        out = run(capsys, *files, "--way", way, *sets, "--out", tmp_path / "out", "--json", *words).out
    return json.loads(out), server


def shown(request):
    """The two answers in the order of display; marks are the same in all of our questions to a pair."""
    parts = re.split(r"^=== .* ===\n", request.text, flags=re.MULTILINE)
    return parts[2].strip("\n"), parts[3].strip("\n")


@pytest.mark.parametrize("way", FIRST)
def test_a_judge_that_always_takes_the_first_is_all_bias_and_all_ties(capsys, tmp_path, files, way):
    numbers, server = judged(capsys, tmp_path, lambda _: says(FIRST[way]), files, way)
    assert (numbers["position_bias"], numbers["consistency"], numbers["win_rate"]) == (100, 0, 50)
    assert (numbers["wins"], numbers["ties"], numbers["losses"], numbers["inconsistent"]) == (0, 3, 0, 3)
    assert (numbers["invalid"], numbers["length_bias"], numbers["length_correlation"]) == (0, None, None)
    assert numbers["position_bias_interval"][1] == 100 and numbers["position_bias_n"] == 3
    assert len(server.requests) == 6


@pytest.mark.parametrize("way", FIRST)
def test_a_judge_that_prefers_the_longer_is_found_out(capsys, tmp_path, files, way):
    def longer(request):
        a, b = map(len, shown(request))
        return says(FIRST[way] if a > b else SECOND[way])

    numbers, _ = judged(capsys, tmp_path, longer, files, way)
    assert (numbers["length_bias"], numbers["position_bias"], numbers["consistency"]) == (100, 50, 100)
    # "because of that" wins, the two others lose to longer ones.
    assert (numbers["wins"], numbers["ties"], numbers["losses"]) == (1, 0, 2)
    assert numbers["win_rate"] == pytest.approx(100 / 3)
    assert numbers["win_rate_by_category"]["d"]["win_rate_n"] == numbers["n"] == 3
    assert numbers["length_controlled_win_rate_n"] == 3


@pytest.mark.parametrize("way", FIRST)
def test_nonsense_is_invalid_and_gives_no_number(capsys, tmp_path, files, way):
    replies = cycle([None, "blah", "[[A]] [[B]]", "11 3", "-1", "A\nB\nm\nM"])  # one a request
    numbers, _ = judged(capsys, tmp_path, lambda _: says(next(replies)), files, way)
    assert (numbers["invalid"], numbers["invalid_replies"], numbers["replies"]) == (3, 6, 6)
    assert [numbers[k] for k in ("wins", "ties", "losses")] == [0, 0, 0]
    for name in ("win_rate", "length_controlled_win_rate", "consistency", "position_bias", "length_bias", "scores"):
        assert numbers[name] is None


def test_without_one_readable_reply_the_table_says_so(capsys, tmp_path, files):
    with ChatServer(lambda _: says("blah")) as server:
        sets = ["--set", f"remote.base_url={server.url}", "--set", "remote.model=j"]
        result = run(capsys, *files, "--way", "vicuna", *sets, "--out", tmp_path / "out")
    assert "0 wins, 0 ties (0 of them because the orders disagree), 0 losses, 3 invalid (6 of 6 replies)" in result.out
    assert result.out.count("%") == 1 and "no judgement could be read" in result.err


def test_one_unreadable_order_makes_the_pair_invalid_not_a_tie(capsys, tmp_path, files):
    numbers, _ = judged(capsys, tmp_path, lambda r: says("?" if shown(r)[0] == "no" else FIRST["lima"]), files, "lima")
    assert (numbers["invalid"], numbers["invalid_replies"], numbers["ties"]) == (1, 1, 2)
    assert numbers["n"] == numbers["position_bias_n"] == 2


def test_scores_have_means_and_a_difference(capsys, tmp_path, files):
    points = {"because of that": 8, "no": 2, "so": 4, "like this, then so": 5, "soon": 7, "in a while, say": 6}
    answer = lambda r: says("{} {}".format(*(points[text] for text in shown(r))))  # noqa: E731
    numbers, _ = judged(capsys, tmp_path, answer, files, "vicuna")
    scores = {name: parts["all"]["value"] for name, parts in numbers["scores"].items()}
    # (8 + 4 + 7) / 3, (2 + 5 + 6) / 3 and their difference
    assert scores == pytest.approx({"ours": 19 / 3, "theirs": 13 / 3})
    assert (numbers["score_difference"]["value"], numbers["score_difference"]["n"]) == (pytest.approx(2), 3)
    assert (numbers["wins"], numbers["losses"], numbers["position_bias"]) == (2, 1, 50)


def test_single_answers_are_rated(capsys, tmp_path, files):
    for way, reply in (("lima-single", "Good.\n4"), ("mt-bench-single", "[[4]]")):
        numbers, server = judged(
            capsys, tmp_path, lambda r, reply=reply: says("none" if "when?" in r.text else reply), files[:1], way
        )
        assert (numbers["scores"]["ours"]["all"]["value"], numbers["scores"]["ours"]["d"]["n"]) == (4, 2)
        assert (numbers["invalid"], len(server.requests), "position_bias" in numbers) == (1, 3, False)


def test_ratings_that_follow_length_are_shown_with_the_ratings(capsys, tmp_path):
    rows = [{"instruction": f"q{i}", "output": "x" * i, "generator": "ours"} for i in range(1, 6)]
    (tmp_path / "a.json").write_text(json.dumps(rows))

    def by_length(request):
        return says(str(re.search(r"^x+$", request.text, re.MULTILINE)[0].count("x")))

    numbers, _ = judged(capsys, tmp_path, by_length, [str(tmp_path / "a.json")], "lima-single")
    assert numbers["length_correlation"]["value"] == pytest.approx(1)
    assert numbers["scores"]["ours"]["all"]["value"] == 3  # (1 + 2 + 3 + 4 + 5) / 5


def test_one_answer_alone_has_no_interval(capsys, tmp_path, files):
    numbers, _ = judged(capsys, tmp_path, lambda _: says("4"), files[:1], "lima-single", "--set", "number=1")
    assert numbers["scores"]["ours"]["all"] == {"value": 4, "low": None, "high": None, "n": 1, "standard_error": None}


def test_log_probabilities_are_asked_for_and_graded(capsys, tmp_path, files):
    # P(m) = 0.8 or 0.4 of the two: "ours" is shown as m and M in turn, and preferred in either: (0.8 + 0.6) / 2.
    def answer(request):
        ours_first = shown(request)[0] in [p[1] for p in PAIRS]
        logprobs = [("m", -0.2231), ("M", -1.6094)] if ours_first else [("m", -0.9163), ("M", -0.5108)]
        top = [{"token": t, "logprob": x} for t, x in logprobs]
        choice = {"message": {"content": "m"}, "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}
        return says("", choices=[choice])

    numbers, server = judged(capsys, tmp_path, answer, files, "alpaca-eval-weighted")
    body = server.requests[0].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 5, 1)
    assert numbers["win_rate"] == pytest.approx(70, abs=0.01)
    assert numbers["position_bias"] == pytest.approx(60, abs=0.01)  # (0.8 + 0.4) / 2
    assert (numbers["wins"], numbers["replies_without_logprobs"]) == (3, 0)
    numbers, _ = judged(capsys, tmp_path / "b", lambda _: says("m"), files, "alpaca-eval-weighted")
    assert numbers["replies_without_logprobs"] == 6


def test_stopped_and_resumed_it_asks_only_what_is_missing(capsys, tmp_path, files):
    count = 0

    def answer(request):
        nonlocal count
        count += 1
        return Response(503) if count == 4 else says("A")

    with ChatServer(answer) as server:
        sets = [f"remote.base_url={server.url}", "remote.model=j", "remote.max_retries=0", "remote.concurrency=1"]
        words = [*files, "--way", "lima", "--out", tmp_path / "out", *(w for s in sets for w in ("--set", s))]
        assert "503" in run(capsys, *words, code=1).err
        assert "position" not in run(capsys, *words, "--json").err
        assert run(capsys, *words).out.startswith("measure")  # finished: asks nothing
    assert len(server.requests) == 7


PRICE = '{"j": {"input": 2, "output": 10}}'


def test_cost_before_and_after(capsys, tmp_path, files):
    prices = tmp_path / "prices.json"
    prices.write_text(PRICE)
    words = [*files, "--way", "lima", "--dry-run", "--set", "remote.model=j", "--set", "remote.max_tokens=100"]
    before = json.loads(run(capsys, *words, "--json", "--prices", prices).out)
    assert (before["requests"], before["completion_tokens"]) == (6, 600)
    assert before["usd"] == pytest.approx((2 * before["prompt_tokens"] + 10 * 600) / 1e6)
    assert "characters / 4" in before["prompt_tokens_are"]
    assert run(capsys, *words).out.endswith("completion tokens: at most 600; cost: unknown; time: unknown\n")
    limited = [*words, "--set", "remote.requests_per_minute=6", "--set", f"remote.prices={prices}"]
    assert run(capsys, *limited).out.endswith("every reply is that long; time: 1 min 01 s at the server's limit\n")
    usage = {"prompt_tokens": 1000, "completion_tokens": 20}
    numbers, server = judged(capsys, tmp_path, lambda _: says("A", usage=usage), files, "lima", "--prices", str(prices))
    # 6 * 1000 * 2 / 1e6 + 6 * 20 * 10 / 1e6
    assert numbers["cost"]["usd"] == pytest.approx(0.0132)
    assert (numbers["cost"]["prompt_tokens"], numbers["cost"]["completion_tokens"]) == (6000, 120)
    characters = sum(-(-len(r.text) // 4) for r in server.requests)
    assert before["prompt_tokens"] == characters
    assert not (tmp_path / "out" / "dry").exists()


def test_tokens_that_nobody_counted_are_unknown_and_not_zero(capsys, tmp_path, files):
    numbers, _ = judged(capsys, tmp_path, lambda _: says("A"), files, "lima")
    assert numbers["cost"] == {
        "requests": 6, "prompt_tokens": None, "completion_tokens": None, "replies_without_count": 6, "usd": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{", "no JSON"),
        ('{"k": {"input": 1, "output": 2}}', "no 'j' for model 'j'; the table has k"),
        ('{"j": {"input": 1}}', "no 'output' for model 'j'"),
        ('{"j": 3}', "each for a million tokens"),
        ('{"j": {"input": -1, "output": 2}}', "must be numbers from 0 up"),
        ('{"j": {"input": "dear", "output": 2}}', "each for a million tokens"),
        ("[]", "each for a million tokens"),
        ('{"j": {"input": 1' + "0" * 400 + ', "output": 2}}', "each for a million tokens"),
    ],
)
def test_wrong_price_tables(capsys, tmp_path, files, table, problem):
    (tmp_path / "p.json").write_text(table)
    words = [*files, "--way", "lima", "--dry-run", "--set", "remote.model=j", "--prices", tmp_path / "p.json"]
    result = run(capsys, *words, code=1)
    assert problem in result.err and result.out == ""


def test_words_that_do_not_fit_are_one_line_and_leave_no_folder(capsys, tmp_path, files):
    out = ["--out", tmp_path / "out"]
    for words, problem in [
        ([], "0 files of answers: give one to rate, or two to compare"),
        ([*files], "--way names a way of asking; there are lima"),
        ([*files, "--way", "best"], "no way of asking 'best'"),
        ([files[0], "nowhere.json", "--way", "lima"], "nowhere.json: no such file"),
        ([files[0], "--way", "lima"], "way 'lima' judges two files of answers, not 1"),
        ([*files, "--way", "lima", "--set", "remote.modle=j"], "no setting 'remote.modle'"),
        ([*files, "--way", "lima", "--prompt", files[0]], "ours.json, row 1: "),
    ]:
        result = run(capsys, *words, *out, code=1)
        assert problem in result.err and result.err.count("\n") == 1 and result.out == ""
    assert not (tmp_path / "out").exists()


def test_help_names_every_way(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "judge", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for place in (text, JudgedSettings.model_fields["way"].description, Path(judges.__file__).read_text()):
        assert all(re.search(rf"\b{way}\b(?!-)", place) for way in WAYS)
    assert "remote.base_url" in run(capsys, "--settings").out


@needs_data
def test_mt_bench_judges_both_turns_and_shows_correct_answers_where_they_are_wanted(capsys, tmp_path):
    questions = DATA / "prompts" / "mt_bench_question.jsonl"
    rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").split("\n") if line]
    answers = [{"question_id": r["question_id"], "model_id": "ours", "choices": [{"turns": ["a", "b"]}]} for r in rows]
    (tmp_path / "ours.jsonl").write_text("".join(json.dumps(r) + "\n" for r in answers))
    words = ["--questions", str(questions)]
    references = ["--references", str(DATA / "prompts" / "mt_bench_reference_answer_gpt-4.jsonl")]

    def answer(request):
        return says("[[4]]" if "second question" in request.text else "[[8]]")

    ours = [str(tmp_path / "ours.jsonl")]
    numbers, server = judged(capsys, tmp_path, answer, ours, "mt-bench-single", *words, *references)
    scores = numbers["scores"]["ours"]
    assert [scores[part]["value"] for part in ("all", "turn 1", "turn 2", "math")] == [6, 8, 4, 6]
    assert (scores["all"]["n"], scores["math"]["n"], numbers["judgements"]) == (80, 10, 160)
    assert sum("correct answer ===" in r.text for r in server.requests) == 60  # 30 questions of two turns
    assert numbers["without_reference"] == 0
    numbers, _ = judged(capsys, tmp_path, answer, ours, "mt-bench-single", *words)
    assert numbers["without_reference"] == 60
    numbers, _ = judged(capsys, tmp_path, lambda _: says("[[B]]"), ours * 2, "mt-bench", *words, *references)
    assert (numbers["position_bias"], numbers["ties"], numbers["position_bias_n"]) == (0, 160, 80)


@needs_data
@pytest.mark.parametrize(("name", "consistent"), [("lima", 0.720), ("koala", 0.817)])
def test_recorded_reviews_are_as_consistent_as_they_are_known_to_be(capsys, tmp_path, name, consistent):
    """GPT-4's reviews in both orders, served as a judge would: known answer 5."""
    path = DATA / "preferences" / "judge_reviews" / f"{name}_wrap_reviews_gpt4.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["data"]
    question = next(key for key in ("prompt", "conversations", "instruction") if key in rows[0])
    replies = {}
    for number, row in enumerate(rows):
        row["id"] = f"{number}: {row[question]}"
        for a, b, review in (("Answer1", "Answer2", "review"), ("Answer2", "Answer1", "review_reverse")):
            replies[number, f"{row[a]}\n@@\n{row[b]}"] = row[review]
    for key in ("Answer1", "Answer2"):
        text = json.dumps([{"instruction": r["id"], "output": r[key], "generator": key} for r in rows])
        (tmp_path / f"{key}.json").write_text(text)
    (tmp_path / "q.txt").write_text("{question}\n@@\n{answer_1}\n@@\n{answer_2}")

    def answer(request):
        asked, _, both = request.text.partition("\n@@\n")
        return says(replies[int(asked.partition(":")[0]), both])

    files = [str(tmp_path / f"{key}.json") for key in ("Answer1", "Answer2")]
    numbers, _ = judged(capsys, tmp_path, answer, files, "vicuna", "--prompt", str(tmp_path / "q.txt"))
    assert numbers["consistency"] == pytest.approx(100 * consistent, abs=0.06)
    assert (numbers["invalid"], numbers["consistency_n"]) == (0, len(rows))


@needs_data
def test_vicunas_reviews_are_read_by_eval_vicuna(capsys, tmp_path):
    folder, questions = DATA / "vicuna_eval", str(DATA / "vicuna_eval" / "question.jsonl")
    files = [str(folder / "answer" / f"answer_{name}.jsonl") for name in ("alpaca-13b", "gpt35")]
    more = ["--questions", questions, "--prompt", str(folder / "prompt.jsonl")]
    replies = {"coding": "no idea", "math": "Mine is 3 4.\n(1, 9)"}

    def answer(request):
        kind = "coding" if "coding abilities" in request.text else "math" if "mathematical" in request.text else ""
        return says(replies.get(kind, "9 7.5\nThe first."))

    numbers, _ = judged(capsys, tmp_path, answer, files, "vicuna", *more)
    assert (numbers["invalid"], numbers["questions"], numbers["position_bias"]) == (7, 80, pytest.approx(100 * 70 / 73))
    assert main(["eval", "vicuna", f"{numbers['folder']}/reviews", "--questions", questions, "--json"]) == 0
    given, swapped = json.loads(capsys.readouterr().out)["files"]
    assert (given["first"], given["second"]) == (swapped["second"], swapped["first"])
    for pair in (given, swapped):
        # 70 times 9 to 7.5; 3 times math, 1 to 9; 7 coding questions without scores.
        assert (pair["first_sum"], pair["second_sum"]) == (70 * 9 + 3 * 1, 70 * 7.5 + 3 * 9)
        assert (pair["wins"], pair["losses"], pair["invalid"], pair["not_read_from_text"]) == (3, 70, 7, 3)
