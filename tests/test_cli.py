"""The command line as a user meets it: answers on stdout, errors in one line of stderr, exit codes, being stopped."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import camelid as camelid_package
from camelid.cli import STAGES, main, parser
from camelid.types import Conversation, Preference, Prompt, read_records

RECIPE = '''"""Words of questions, counted.

Nobody needs it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from camelid.collect.stage import ImportSettings, import_data
from camelid.runs import Output, Settings, Stage
from camelid.types import Prompt, read_records


class CountSettings(Settings):
    times: int = 1
    """How often each word counts."""


class Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: list[Path] = [Path("questions.jsonl")]
    """Files of questions."""
    rows: ImportSettings = ImportSettings(kind="prompts")
    """How they are read."""
    count: CountSettings = CountSettings()
    """How words are counted."""


def count_words(run):
    if "WAIT" in os.environ:
        Path("waiting").touch()
        time.sleep(60)
    rows = read_records(run.inputs["rows"], Prompt)
    words = run.settings.times * sum(len(row.prompt[-1].content.split()) for row in rows)
    (run.path / "words.txt").write_text(str(words))
    return {"words": words, "loads_torch": "torch" in sys.modules}


def stages(s: Words) -> list[Stage]:
    rows = Output("rows", "rows.jsonl")
    return [
        Stage("rows", import_data, s.rows, {"data": s.data}),
        Stage("count", count_words, s.count, {"rows": rows}),
    ]
'''
QUESTIONS = [{"prompt": [{"role": "user", "content": text}]} for text in ("What is a llama?", "Why?")]  # 5 words
TALKS = [
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there"}]},
    {"messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A llama."}]},
]


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def camelid(capsys, tmp_path, monkeypatch):
    """`camelid(words...)` in an empty folder; the handler of SIGTERM is put back."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call(*words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return Result(code, *capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def recipe(tmp_path):
    """A recipe of two torch-free stages, and its data."""
    (tmp_path / "words.py").write_text(RECIPE)
    write_lines(tmp_path / "questions.jsonl", QUESTIONS)
    return tmp_path / "words.py"


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def process(tmp_path, *words, code="from camelid.cli import main; sys.exit(main(sys.argv[1:]))", **variables):
    """A Python of its own in `tmp_path`, with these environment variables too; it finds camelid where this one does."""
    source = str(Path(camelid_package.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; {code}", *map(str, words)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source} | variables,
        # A shell's background job ignores Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def leaves(top, words=()):
    """The words of every command, found in the parser itself."""
    deeper = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not deeper:
        return [words]
    return [leaf for action in deeper for name, sub in action.choices.items() for leaf in leaves(sub, (*words, name))]


# --- help ---


@pytest.mark.parametrize("words", [w for w in leaves(parser()) if w[0] not in STAGES], ids=" ".join)
def test_every_command_has_a_help(camelid, words):
    code, out, err = camelid(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: camelid {' '.join(words)} ")


@pytest.mark.parametrize("name", STAGES)
def test_the_help_of_a_stage_names_its_inputs_and_settings(camelid, name):
    pytest.importorskip("transformers")
    code, out, err = camelid(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: camelid {name} ")
    assert re.search(r"^  seed +0 ", out, re.MULTILINE)


def test_help_is_quick_since_it_loads_nothing_heavy(tmp_path):
    code = "from camelid.cli import parser; parser().format_help(); print(*sys.modules)"
    out, _ = process(tmp_path, code=code).communicate()
    loaded = {name.partition(".")[0] for name in out.split()}
    assert "camelid" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "pydantic", "rich"}


def test_the_list_of_commands_names_all(camelid):
    out = camelid("--help").out
    assert all(f"\n    {words[0]}" in out for words in leaves(parser()))


def test_version(camelid):
    from camelid import __version__

    assert camelid("--version") == (0, f"camelid {__version__}\n", "")


# --- wrong words ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run nosuch", "no recipe 'nosuch'; there are: baize, "),
        ("run nosuch.py", "no recipe file nosuch.py"),
        ("run broken.py", "broken.py, line 2: "),
        ("run empty.py", "empty.py is no recipe: it has no function `stages"),
        ("run words.py --set times=2", "no setting 'times'; there are: count, data, rows"),
        ("run words.py --set count.tims=2", "no setting 'count.tims'; there are: seed, times"),
        ("run words.py --set count.times=often", "count.times: Input should be a valid integer"),
        ("run words.py --set count.times", "write NAME=VALUE"),
        ("run words.py --set data=nosuch.jsonl", "input nosuch.jsonl does not exist"),
        ("run words.py --set data=nosuch.jsonl --dry-run", "input nosuch.jsonl does not exist"),
        ("run words.py --out questions.jsonl", "File exists: 'questions.jsonl'"),
        ("recipes show nosuch", "no recipe 'nosuch'; there are: baize, "),
        ("recipes copy nosuch mine.py", "no recipe 'nosuch'; there are: baize, "),
        ("recipes copy quickstart words.py", "words.py exists"),
        ("recipes copy quickstart mine", "name it .py"),
        ("runs show nosuch", "nosuch is not a run"),
        ("data check nosuch.jsonl", "nosuch.jsonl"),
        ("data check .", "Is a directory"),
        ("data convert nosuch.jsonl new.jsonl", "nosuch.jsonl"),
        ("data convert questions.jsonl new.jsonl --to nosuch", "'nosuch'"),
        ("data convert questions.jsonl new.txt", "name it .json"),
        ("models pull no-such-model", "neither one of smollm2-135m, nor a folder, nor a Hugging Face id"),
        ("chat no-such-model", "neither one of smollm2-135m, nor a folder"),
        ("show-mask . questions.jsonl", "holds no conversation"),
        ("import questions.jsonl", "'questions.jsonl' belongs to no input; write --NAME questions.jsonl"),
        ("import --data", "--data names no file"),
        ("import --data nosuch.jsonl", "input nosuch.jsonl does not exist"),
        ("import --data questions.jsonl --set kind=nosuch", "kind: Input should be 'conversations'"),
        ("import --data questions.jsonl --set knd=prompts", "no setting 'knd'; there are: "),
    ],
)
def test_an_error_is_one_line_of_stderr(camelid, recipe, tmp_path, words, said):
    (tmp_path / "broken.py").write_text('"""Broken."""\ndef stages(:\n')
    (tmp_path / "empty.py").write_text('"""Empty."""\n')
    code, out, err = camelid(*words.split())
    assert (code, out) == (1, "")
    assert err.startswith("camelid: ") and said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", ["", "nosuch", "runs", "data check", "run words.py --nosuch", "import", "sft"])
def test_words_that_make_no_command_exit_with_2(camelid, words):
    code, out, err = camelid(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith("usage: camelid") and "Traceback" not in err


def test_the_traceback_can_be_asked_for(camelid, monkeypatch):
    monkeypatch.setenv("CAMELID_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no recipe"):
        camelid("run", "nosuch")


def test_a_missing_package_is_named_with_its_cure(tmp_path, recipe):
    code = "sys.modules['transformers'] = None; from camelid.cli import main; sys.exit(main(['sft', '--help']))"
    child = process(tmp_path, code=code)
    out, err = child.communicate()
    assert (child.returncode, out) == (1, "")
    assert re.fullmatch(r"camelid: \S+ is not installed: pip install 'camelid\[train\]'\n", err)


# --- recipes and runs ---


def test_recipes_are_listed_with_their_first_line(camelid):
    code, out, err = camelid("recipes", "list", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert "quickstart" in [row["recipe"] for row in rows]
    assert all(row["about"].endswith((".", ":")) for row in rows)
    table = camelid("recipes", "list").out
    assert all(row["recipe"] in table for row in rows)


def test_a_recipe_is_shown_with_its_settings(camelid, recipe):
    code, out, err = camelid("recipes", "show", recipe)
    assert (code, err) == (0, "")
    assert out.startswith("Words of questions, counted.\n")
    assert re.search(r"count\.times +1 +How often each word counts\.", out)


def test_a_copied_recipe_is_the_same_recipe(camelid):
    pytest.importorskip("transformers")
    from camelid.commands.recipes import load_recipe, recipe_settings

    assert camelid("recipes", "copy", "quickstart", "mine.py")[:2] == (0, "mine.py\n")
    original, copy = (recipe_settings(load_recipe(name))() for name in ("quickstart", "mine.py"))
    assert copy.model_dump() == original.model_dump()
    assert all(file.exists() for file in copy.data.demonstrations)


def test_a_recipe_runs_once(camelid, recipe, tmp_path):
    code, out, err = camelid("run", recipe)
    assert (code, out) == (0, "runs/words\n")
    assert "[1/2] rows -> runs/words/rows-" in err and "[2/2] count -> " in err
    assert "chat" not in err  # no model has come out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.*") if path.name != "run.json"}

    code, out, err = camelid("run", recipe)
    assert (code, out) == (0, "runs/words\n")
    assert err.splitlines() == ["[1/2] rows is done", "[2/2] count is done"]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.*") if path.name != "run.json"}
    assert after == before

    code, out, err = camelid("run", recipe, "--set", "count.times=3", "--json")
    answer = json.loads(out)
    assert (code, answer["run"], answer["report"]) == (0, "runs/words", None)
    assert err.splitlines()[0] == "[1/2] rows is done"
    assert (tmp_path / answer["stages"]["count"] / "words.txt").read_text() == "15"


def test_a_dry_run_runs_nothing(camelid, recipe, tmp_path):
    code, out, err = camelid("run", recipe, "--dry-run", "--json")
    assert (code, err) == (0, "")
    assert [(row["stage"], row["state"]) for row in json.loads(out)["stages"]] == [
        ("rows", "to do"),
        ("count", "unknown"),
    ]
    assert not (tmp_path / "runs").exists()


def test_runs_of_an_empty_folder(camelid):
    assert camelid("runs", "list") == (0, "", "no runs below runs\n")
    assert camelid("runs", "list", "--json") == (0, "[]\n", "")


def test_runs_are_listed_and_shown(camelid, recipe, tmp_path):
    camelid("run", recipe)
    camelid("run", recipe, "--out", "runs/other", "--set", "count.times=2")
    next((tmp_path / "runs" / "other").glob("count-*/manifest.json")).unlink()

    rows = json.loads(camelid("runs", "list", "--json").out)
    assert rows == [
        {"run": "runs/other", "stages": 2, "finished": 1},
        {"run": "runs/words", "stages": 2, "finished": 2},
    ]
    lines = camelid("runs", "list").out.splitlines()
    assert [line.split() for line in lines] == [
        ["run", "stages", "finished"],
        ["runs/other", "2", "1"],
        ["runs/words", "2", "2"],
    ]
    shown = json.loads(camelid("runs", "show", "runs/other", "--json").out)
    assert shown["rows"]["metrics"]["kept"] == 2
    assert shown["count"] is None
    out = camelid("runs", "show", "runs/other").out
    assert re.search(r"^rows .* read 2, kept 2", out, re.MULTILINE)
    assert re.search(r"^count +unfinished ", out, re.MULTILINE)


def test_a_run_without_a_model_cannot_be_talked_to(camelid, recipe):
    camelid("run", recipe)
    assert camelid("chat", "runs/words") == (1, "", "camelid: no stage of runs/words has left a language model yet\n")


def test_one_stage_by_itself(camelid, recipe, tmp_path):
    words = ("import", "--data=questions.jsonl", "--set", "kind=prompts", "--out", "mine")
    code, out, _ = camelid(*words)
    folder = tmp_path / out.strip()
    assert (code, folder.parent) == (0, tmp_path / "mine")
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 2
    assert camelid(*words) == (0, out, "[1/1] import is done\n")


def test_an_input_that_the_stage_does_not_find_is_named(camelid, recipe):
    code, out, err = camelid("import", "--dta", "questions.jsonl")
    assert (code, out) == (1, "")
    assert err.endswith("\ncamelid: the stage needs an input 'data'; it was given dta\n")


# --- being stopped ---


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stopped_run_says_how_to_go_on_and_does(tmp_path, recipe, stop):
    child = process(tmp_path, "run", recipe, WAIT="1")
    wait_for(tmp_path / "waiting", child)
    child.send_signal(stop)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "")
    assert err.endswith("stopped; nothing finished is lost. The same command goes on from the last checkpoint.\n")
    assert "Traceback" not in err

    again = process(tmp_path, "run", recipe)
    out, err = again.communicate(timeout=30)
    assert (again.returncode, out) == (0, "runs/words\n")
    assert err.splitlines()[0] == "[1/2] rows is done"
    manifest = next((tmp_path / "runs" / "words").glob("count-*/manifest.json"))
    assert json.loads(manifest.read_text())["metrics"] == {"words": 5, "loads_torch": False}


def test_sigterm_stops_a_background_job_that_ignores_sigint(tmp_path, recipe):
    """A shell starts `camelid ... &` with SIGINT ignored; passed on as SIGINT, SIGTERM would be lost too."""
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = process(tmp_path, "run", recipe, WAIT="1")
    finally:
        signal.signal(signal.SIGINT, ignored)
    wait_for(tmp_path / "waiting", child)
    child.terminate()
    child.communicate(timeout=30)
    assert child.returncode == 130


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    child = process(tmp_path, "recipes", "list")
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(timeout=30) == 0


def wait_for(path, child, seconds=30.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


# --- data ---


def test_data_check_tells_by_its_exit_code(camelid, tmp_path):
    good = write_lines(tmp_path / "good.jsonl", TALKS)
    usable = write_lines(tmp_path / "usable.jsonl", [*TALKS, {"messages": []}])
    unusable = write_lines(tmp_path / "unusable.jsonl", [{"messages": []}])
    results = [camelid("data", "check", file) for file in (good, usable, unusable)]
    assert [(result.code, result.err) for result in results] == [(0, ""), (1, ""), (2, "")]
    verdicts = [result.out.splitlines()[0].rpartition(": ")[2] for result in results]
    assert verdicts == ["good", "usable", "unusable"]
    answer = json.loads(camelid("data", "check", usable, "--json").out)
    assert (answer["verdict"], answer["rows"], answer["kept"]) == ("usable", 3, 2)


@pytest.mark.parametrize("target", ["sharegpt", "alpaca", "openai", "trl"])
def test_data_comes_back_from_another_format(camelid, tmp_path, target):
    write_lines(tmp_path / "a.jsonl", TALKS)
    assert camelid("data", "convert", "a.jsonl", "there.jsonl", "--to", target)[:2] == (0, "there.jsonl\n")
    assert camelid("data", "convert", "there.jsonl", "back.jsonl")[:2] == (0, "back.jsonl\n")
    back = read_records(tmp_path / "back.jsonl", Conversation)
    assert [row.model_dump(mode="json")["messages"] for row in back] == [row["messages"] for row in TALKS]


def test_rows_become_what_they_are_or_what_is_asked(camelid, tmp_path):
    row = {"prompt": [{"role": "user", "content": "Hello"}], "chosen": "Hi", "rejected": "No"}
    write_lines(tmp_path / "a.jsonl", [row])
    camelid("data", "convert", "a.jsonl", "same.jsonl")
    assert [p.chosen for p in read_records(tmp_path / "same.jsonl", Preference)] == ["Hi"]
    camelid("data", "convert", "a.jsonl", "prompts.jsonl", "--kind", "prompts")
    assert [p.prompt[-1].content for p in read_records(tmp_path / "prompts.jsonl", Prompt)] == ["Hello"]


def test_a_file_of_which_nothing_fits_is_an_error_and_writes_nothing(camelid, tmp_path):
    row = {"prompt": [{"role": "user", "content": "Hello"}], "chosen": "Hi", "rejected": "No"}
    write_lines(tmp_path / "a.jsonl", [row])
    code, out, err = camelid("data", "convert", "a.jsonl", "b.jsonl", "--kind", "conversations")
    assert (code, out) == (1, "")
    assert err.endswith("camelid: a.jsonl holds no conversations to convert; `camelid data check` says why\n")
    assert not (tmp_path / "b.jsonl").exists()


def test_rows_that_do_not_fit_are_kept_aside(camelid, tmp_path):
    write_lines(tmp_path / "a.jsonl", [*TALKS, {"messages": []}])
    code, out, err = camelid("data", "convert", "a.jsonl", "b.jsonl")
    assert (code, out) == (0, "b.jsonl\n")
    assert "2 rows written" in err and "rows that do not fit: b.set_aside.jsonl" in err
    assert [json.loads(line)["line"] for line in (tmp_path / "b.set_aside.jsonl").read_text().splitlines()] == [3]
    code, out, err = camelid("data", "convert", "a.jsonl", "c.jsonl", "--strict")
    assert (code, out) == (1, "") and "a.jsonl, line 3: " in err
    assert not (tmp_path / "c.jsonl").exists()


# --- models and the machine ---


def test_known_models_are_listed_with_their_licence(camelid):
    rows = json.loads(camelid("models", "list", "--json").out)
    assert {"model": "smollm2-135m", "licence": "Apache-2.0"}.items() <= rows[0].items()
    assert "smollm2-135m" in camelid("models", "list").out


def test_show_mask_prints_what_trains(camelid, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256 + 3, initial_alphabet=alphabet)
    backend.train_from_iterator([], trainer)
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    fast.save_pretrained(tmp_path / "tokenizer")
    write_lines(tmp_path / "a.jsonl", TALKS)

    code, out, err = camelid("show-mask", "tokenizer", "a.jsonl", "--chat-format", "chatml", "--rows", "1")
    assert (code, err) == (0, "")
    # Letters are tokens here. The user's turn: start, "user", line end, "Hello", end, line end: 13. The assistant's:
    # start, "assistant", line end: 11; "Hi there" and the end of turn: 9 that train; the last line end.
    assert "9 of 34 tokens train" in out
    assert "<|im_start|>assistant\nHi there<|im_end|>" in out
    assert "What is it?" not in out


def test_env_says_what_this_machine_is(camelid):
    torch = pytest.importorskip("torch")
    code, out, err = camelid("env", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["chosen"]["precision"] in ("float32", "bfloat16")
    table = camelid("env").out
    assert re.search(rf"^machine\.cores +{facts['machine']['cores']} *$", table, re.MULTILINE)


def test_env_works_without_torch(tmp_path):
    code = "sys.modules['torch'] = None; from camelid.cli import main; sys.exit(main(['env', '--json']))"
    out, err = process(tmp_path, code=code, CAMELID_CACHE="here").communicate()
    facts = json.loads(out)
    assert (facts["chosen"], facts["cache"], err) == (None, "here", "")
