"""The live view's server: real stages over a real port, files that grow and shrink, and those who should not ask."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camelid.runs import Output, Run, Settings, Stage, execute
from camelid.serve.watch.curves import Curves
from camelid.serve.watch.runs import read_watched
from camelid.serve.watch.server import Server
from camelid.serve.watch.states import shown_progress
from camelid.serve.watch.view import SAMPLES_A_PAGE, View

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class Asker:
    """Asks a running server as a browser would."""

    def __init__(self, server: Server):
        self.server = server

    def reply(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        reply = connection.getresponse()
        reply.content = reply.read()
        connection.close()
        return reply

    def __call__(self, question: str, **given: object) -> dict[str, Any]:
        reply = self.reply(f"/api/{question}?{urlencode(given)}")
        assert reply.status == 200, reply.content
        return json.loads(reply.content, parse_constant=pytest.fail)  # NaN is no JSON for a browser

    def stages(self) -> dict[str, dict[str, Any]]:
        return {stage["name"]: stage for run in self("state")["runs"] for stage in run["stages"]}


@pytest.fixture
def serve():
    """`serve(folders...)`: a server of them, ended with the test."""
    servers = []

    def start(*folders: Path) -> Asker:
        server = Server(View(read_watched([str(folder) for folder in folders])))
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return Asker(server)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def write_rows(file: Path, rows: list[dict[str, Any]], mode: str = "w") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open(mode) as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def stage(tmp_path) -> Path:
    """The folder of one stage that has three rows."""
    write_rows(tmp_path / "ppo-1234abcd" / "metrics.jsonl", [{"step": n, "score": n / 2, "kl": -n} for n in (1, 2, 3)])
    return tmp_path / "ppo-1234abcd"


# --- runs and their stages ---


def test_a_run_is_seen_from_before_its_beginning_to_its_end(tmp_path, serve):
    ask = serve(tmp_path / "run")
    assert ask("state")["runs"][0] | {"path": ""} == {
        "name": "run",
        "path": "",
        "state": "waiting",
        "seconds": 0,
        "stages": [],
    }
    at_work, go_on = threading.Event(), threading.Event()

    def first(run: Run) -> dict[str, float]:
        (run.path / "rows.txt").write_text("rows")
        return {"kept": 3, "share": math.nan, "by": "hand"}

    def second(run: Run) -> dict[str, float]:
        with run.progress("steps", 4) as tick:
            run.log(1, loss=2.5)
            time.sleep(0.05)
            tick(4)
            at_work.set()
            assert go_on.wait(20)
        return {}

    stages = [
        Stage("data/first", first, Settings()),
        Stage("second", second, Settings(), {"rows": Output("data/first", "rows.txt")}),
        Stage("third", first, Settings(), {"rows": Output("second", "metrics.jsonl")}),
    ]
    work = threading.Thread(target=execute, args=(stages, tmp_path / "run"))
    work.start()
    assert at_work.wait(20)
    seen = ask.stages()
    assert {name: each["state"] for name, each in seen.items()} == {
        "data/first": "done",
        "second": "running",
        "third": "waiting",
    }
    assert seen["data/first"]["results"] == {"kept": 3.0, "share": None, "by": "hand"}
    assert seen["second"]["progress"] | {"left": 0} == {"what": "steps", "total": 4, "done": 4, "left": 0}
    assert seen["second"]["process"] == os.getpid()
    assert ask("state")["runs"][0]["state"] == "running"
    (part,) = ask("curves", run=0, stage="second")["series"]
    assert (part["name"], part["group"], part["step"], part["mean"]) == ("loss", "Loss", [1.0], [2.5])
    go_on.set()
    work.join()
    assert ask("state")["runs"][0]["state"] == "done"
    assert [each["state"] for each in ask.stages().values()] == ["done"] * 3


def test_a_stage_that_failed_is_stopped_and_says_where_it_goes_on(tmp_path, serve):
    def fails(run: Run) -> dict[str, float]:
        run.log(1, loss=1.0)
        run.checkpoint(7, lambda folder: (folder / "state").write_bytes(b"x"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute([Stage("sft", fails, Settings())], tmp_path)
    ask = serve(tmp_path)
    assert ask("state")["runs"][0]["state"] == "stopped"
    seen = ask.stages()["sft"]
    assert (seen["state"], seen["checkpoint"]) == ("stopped", 7)
    assert 0 <= seen["silent"] < 60


def test_a_number_that_went_to_another_process_is_no_holder(stage, serve):
    (stage / "run.lock").write_text(str(os.getpid()))  # alive, and without the file open
    assert serve(stage).stages()["ppo"]["state"] == "stopped"


def test_time_left_goes_by_the_speed_since_the_resume():
    record = {"what": "steps", "total": 100, "first": 40, "done": 60, "began": 1000.0, "time": 1040.0}
    # 20 steps in 40 s, 40 to go: 80 s, of which 5 have passed since
    assert shown_progress(record, now=1045.0)["left"] == pytest.approx(75)
    assert shown_progress(record | {"done": 40}, now=1045.0)["left"] is None
    assert shown_progress(record | {"total": "many"}, now=1045.0) is None


def test_several_runs_are_told_apart_by_the_ends_of_their_paths(tmp_path, serve):
    for name in ("a", "b"):
        write_rows(tmp_path / name / "sft-1" / "metrics.jsonl", [{"step": 1, "loss": ord(name)}])
        (tmp_path / name / "run.json").write_text('{"stages": {"sft": "sft-1"}}')
    (tmp_path / "c").mkdir()
    assert [run.name for run in read_watched([str(tmp_path / name) for name in "abc"])] == ["a", "b", "c"]
    folders = [tmp_path / name / "sft-1" for name in "ab"]
    assert [run.name for run in read_watched([str(folder) for folder in folders])] == ["a/sft-1", "b/sft-1"]
    ask = serve(tmp_path / "a", tmp_path / "b", tmp_path / "a")
    assert len(ask("state")["runs"]) == 2
    assert [ask("curves", run=n, stage="sft")["series"][0]["mean"] for n in (0, 1)] == [[97.0], [98.0]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: root.write_text("text"), "is a file; give the folder of a run"),
        (
            lambda root: (root / "notes").mkdir(parents=True),
            "is no run .no run.json. and no stage; `camelid runs list`",
        ),
        (
            lambda root: write_rows(root / "mine" / "run.json", []),
            "is no run, it holds runs: name those that you want, .*mine",
        ),
    ],
)
def test_a_wrong_folder_is_named_with_what_is_wrong(tmp_path, make, said):
    make(tmp_path / "given")
    with pytest.raises(ValueError, match=f"given {said}"):
        read_watched([str(tmp_path / "given")])


# --- curves ---


def test_only_what_is_new_is_sent(stage, serve):
    ask = serve(stage)
    first = ask("curves", run=0, stage="ppo")
    assert first["new"] and first["rows"] == 3
    nothing = ask("curves", run=0, stage="ppo", since=first["cursor"])
    assert (nothing["new"], nothing["series"], nothing["cursor"]) == (False, [], first["cursor"])
    with (stage / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "score": 9}\n{"step": 5, "sco')
        file.flush()
        (part,) = ask("curves", run=0, stage="ppo", since=first["cursor"])["series"]
        assert (part["name"], part["from"], part["step"], part["mean"]) == ("score", 3, [4.0], [9.0])
        file.write('re": 10}\n')
    (part,) = ask("curves", run=0, stage="ppo", since=first["cursor"])["series"]
    assert (part["from"], part["step"], part["mean"]) == (3, [4.0, 5.0], [9.0, 10.0])


@pytest.mark.parametrize("regrown", [1, 5])
def test_a_file_that_a_resume_cut_is_read_again(stage, serve, regrown):
    ask = serve(stage)
    cursor = ask("curves", run=0, stage="ppo")["cursor"]
    file = stage / "metrics.jsonl"
    os.truncate(file, file.read_bytes().index(b"\n") + 1)
    rows = [{"step": n, "score": 100 * n, "kl": 0} for n in range(2, 2 + regrown)]
    write_rows(file, rows, "a")
    again = ask("curves", run=0, stage="ppo", since=cursor)
    assert again["new"] and again["rows"] == 1 + regrown
    parts = {part["name"]: part for part in again["series"]}
    assert parts["score"]["mean"] == [0.5, *(row["score"] for row in rows)]


def test_a_file_that_was_removed_is_forgotten(stage, serve):
    ask = serve(stage)
    cursor = ask("curves", run=0, stage="ppo")["cursor"]
    (stage / "metrics.jsonl").rename(stage / "aside")
    (stage / "run.lock").touch()
    assert ask("curves", run=0, stage="ppo", since=cursor)["rows"] == 0
    write_rows(stage / "metrics.jsonl", [{"step": 1, "loss": 1}])
    assert [part["name"] for part in ask("curves", run=0, stage="ppo", since=cursor)["series"]] == ["loss"]


class Page:
    """Holds the curves as the page's script does."""

    def __init__(self) -> None:
        self.cursor = ""
        self.held: dict[str, dict[str, Any]] = {}

    def take(self, answer: dict[str, Any]) -> None:
        self.cursor = answer["cursor"]
        if answer["new"]:
            self.held = {}
        for part in answer["series"]:
            known = self.held.get(part["name"])
            if known is not None and part["from"] > 0:
                for column in {"step", "mean", "low", "high"} & set(part):
                    known[column][part["from"] :] = part[column]
                known["last"] = part["last"]
            else:
                assert part["from"] == 0
                self.held[part["name"]] = part


@settings(max_examples=30)
@given(appends=st.lists(st.integers(0, 30), max_size=8), most=st.integers(2, 12), cut=st.integers(0, 60))
def test_a_page_that_asks_now_and_then_holds_what_one_holds_that_asks_at_the_end(tmp_path_factory, appends, most, cut):
    file = tmp_path_factory.mktemp("curves") / "metrics.jsonl"
    curves, page, step = Curves(file), Page(), 0
    for number, count in enumerate(appends):
        rows = [{"step": step + n, "loss": math.sin(step + n)} for n in range(count)]
        for row in rows[::3]:
            row["seldom"] = row["step"]
        write_rows(file, rows, "a")
        step += count
        if number == 4:
            lines = file.read_bytes().splitlines(keepends=True)
            os.truncate(file, sum(map(len, lines[:cut])))
        page.take(json.loads(json.dumps(curves.since(page.cursor, most))))
    fresh = Page()
    fresh.take(json.loads(json.dumps(Curves(file).since("", most))))
    columns = ("size", "step", "mean", "low", "high", "last")
    assert {n: [p.get(c) for c in columns] for n, p in page.held.items()} == {
        n: [p.get(c) for c in columns] for n, p in fresh.held.items()
    }


def test_a_hundred_thousand_rows_are_few_points_with_every_extreme(stage, serve):
    with (stage / "metrics.jsonl").open("w") as file:
        file.writelines(f'{{"step": {n}, "loss": {-50 if n == 77_777 else n % 7}}}\n' for n in range(100_000))
    ask = serve(stage)
    answer = ask("curves", run=0, stage="ppo", most=400)
    (part,) = answer["series"]
    assert part["size"] == 256  # 100,000 / 400 = 250 rows a point, the next power of two
    assert len(part["mean"]) == 391  # 100,000 / 256, rounded up
    assert (min(part["low"]), max(part["high"])) == (-50, 6)
    assert part["low"].index(-50) == 77_777 // 256
    write_rows(stage / "metrics.jsonl", [{"step": 100_000, "loss": 1}], "a")
    begun = time.monotonic()
    (part,) = ask("curves", run=0, stage="ppo", most=400, since=answer["cursor"])["series"]
    assert (part["from"], len(part["mean"])) == (390, 1)
    assert time.monotonic() - begun < 1


def test_what_is_not_finite_is_said_and_leaves_a_gap(stage, serve):
    write_rows(stage / "metrics.jsonl", [{"step": n, "loss": math.nan if n > 1 else 1.0} for n in (1, 2, 3)])
    (part,) = serve(stage)("curves", run=0, stage="ppo")["series"]
    assert (part["mean"], part["bad"], part["first_bad"]) == ([1.0, None, None], 2, 2.0)


def test_lines_that_are_no_rows_are_counted_and_passed_over(stage, serve):
    (stage / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 1}\n\x00\x00\n[1]\n{"step": 2, "loss": true, "note": "x"}\n'
    )
    answer = serve(stage)("curves", run=0, stage="ppo")
    assert (answer["rows"], answer["broken"]) == (2, 2)
    assert [part["mean"] for part in answer["series"]] == [[1.0]]


# --- samples and guards ---


def test_the_newest_samples_come_first_and_older_ones_page_by_page(stage, serve):
    count = 3 * SAMPLES_A_PAGE - 5
    rows = [{"iteration": n // 4, "prompt": f"p{n}", "completion": "é" * (n * 97), "score": n} for n in range(count)]
    write_rows(stage / "samples.jsonl", rows)
    with (stage / "samples.jsonl").open("a") as file:
        file.write('{"iteration": 99, "completion": "being wri')
    ask = serve(stage)
    seen, before = [], None
    while before is not None or not seen:
        page = ask("samples", run=0, stage="ppo", **({} if before is None else {"before": before}))
        seen += page["samples"]
        before = page["before"]
    assert [sample["score"] for sample in seen] == list(range(count - 1, -1, -1))
    assert all(sample["completion"] == "é" * int(sample["score"] * 97) for sample in seen)
    assert seen[0]["prompt"] == [{"role": "user", "content": f"p{count - 1}"}]


def test_rows_of_every_stage_that_leaves_samples_are_understood(stage, serve):
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    rows = [
        {"prompt_id": "x1", "ids": [1, 2], "logprobs": [-0.5], "finished": True, "text": "best", "score": 2.0},
        {"iteration": 3, "prompt": messages, "completion": HOSTILE, "scores": {"score": 0.5, "length": -0.25}},
        {"iteration": 4, "prompt": 7, "completion": None, "score": math.nan, "long": "x" * 500},
        {"completion": "y" * 30_000},
    ]
    write_rows(stage / "samples.jsonl", rows)
    long, odd, ppo, best = serve(stage)("samples", run=0, stage="ppo")["samples"]
    assert best == {
        "iteration": None,
        "prompt": [],
        "prompt_id": "x1",
        "completion": "best",
        "score": 2.0,
        "parts": {"finished": True},
    }
    assert (ppo["prompt"], ppo["completion"], ppo["score"], ppo["parts"]) == (messages, HOSTILE, 0.5, {"length": -0.25})
    assert (odd["prompt"], odd["completion"], odd["score"], odd["parts"]) == ([], "", None, {})
    assert long["completion"].endswith("[… 10,000 more characters]")


def test_guards_show_their_newest_value_and_their_trips(stage, serve):
    rows = [
        {"iteration": 2, "guard": "kl", "value": 2.5, "limit": 2, "action": "warn"},
        {"iteration": 2, "guard": "entropy", "value": 0.1, "limit": 0.5, "action": "stop"},
        {"iteration": 3, "guard": "kl", "value": 2.75, "limit": 2, "action": "warn"},
    ]
    write_rows(stage / "guards.jsonl", rows[:2])
    ask = serve(stage)
    assert ask.stages()["ppo"]["tripped"] == 2
    write_rows(stage / "guards.jsonl", rows[2:], "a")
    shown = ask("guards", run=0, stage="ppo")
    assert [(g["guard"], g["value"], g["action"], g["trips"]) for g in shown["guards"]] == [
        ("kl", 2.75, "warn", 2),
        ("entropy", 0.1, "stop", 1),
    ]
    assert [(trip["guard"], trip["iteration"]) for trip in shown["trips"]] == [
        ("kl", 3),
        ("entropy", 2),
        ("kl", 2),
    ]
    write_rows(stage / "guards.jsonl", [])  # a resume
    assert ask("guards", run=0, stage="ppo")["guards"] == []


# --- who may ask for what ---


def test_the_page_may_load_nothing_but_itself(stage, serve):
    ask = serve(stage)
    for path, kind in (("/", "text/html"), ("/watch.css", "text/css"), ("/watch.js", "text/javascript")):
        reply = ask.reply(path)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith(kind)
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert b"http://" not in reply.content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in reply.content
        assert b"innerHTML" not in reply.content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_foreign_host_is_refused(stage, serve, host):
    ask = serve(stage)
    for path in ("/", "/api/state"):
        reply = ask.reply(path, Host=host)
        assert reply.status == 403
        assert b"ppo" not in reply.content


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "[::1]:8600", "LOCALHOST:80"])
def test_this_machine_is_answered_through_a_tunnel_too(stage, serve, host):
    assert serve(stage).reply("/api/state", Host=host).status == 200


def test_pages_from_elsewhere_get_no_data(stage, serve):
    ask = serve(stage)
    assert ask.reply("/api/state", Sec_Fetch_Site="cross-site").status == 403
    assert ask.reply("/api/state", Sec_Fetch_Site="same-site").status == 403
    assert ask.reply("/api/state", Sec_Fetch_Site="same-origin").status == 200
    assert ask.reply("/", Sec_Fetch_Site="cross-site").status == 200  # a link to the page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_there_is_get_alone(stage, serve, method):
    assert serve(stage).reply("/api/state", method).status == 501


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.jsonl",
        "/%2e%2e/secret.jsonl",
        "/watch.js/../../server.py",
        "/server.py",
        "//etc/passwd",
        "/api/",
        "/api/settings",
        "/api/samples?run=0&stage=../secret",
        "/api/samples?run=0&stage=/etc",
        "/api/samples?run=7&stage=ppo",
        "/api/samples?run=-1&stage=ppo",
        "/api/samples?run=x&stage=ppo",
        "/api/samples?run=0&stage=ppo&before=-5",
        "/api/samples",
        "/api/curves?run=0&stage=ppo&most=1",
    ],
)
def test_nothing_else_is_answered(stage, serve, path):
    write_rows(stage.parent / "secret.jsonl", [{"text": "secret"}])
    write_rows(stage / "samples.jsonl", [{"text": "known"}])
    reply = serve(stage).reply(path)
    assert reply.status == 404
    assert b"secret" not in reply.content.replace(b"secret.jsonl", b"")


def test_stages_and_files_that_lead_outside_of_the_run_are_not_read(tmp_path, serve):
    write_rows(tmp_path / "outside" / "metrics.jsonl", [{"step": 1, "secret": 1}])
    write_rows(tmp_path / "outside" / "samples.jsonl", [{"text": "secret"}])
    root = tmp_path / "run"
    write_rows(root / "inside" / "metrics.jsonl", [{"step": 1, "loss": 1}])
    (root / "inside" / "samples.jsonl").symlink_to(tmp_path / "outside" / "samples.jsonl")
    (root / "link").symlink_to(tmp_path / "outside")
    places = {"inside": "inside", "dots": "../outside", "whole": str(tmp_path / "outside"), "link": "link", "odd": 3}
    (root / "run.json").write_text(json.dumps({"stages": places, "planned": "none"}))
    ask = serve(root)
    states = {name: each["state"] for name, each in ask.stages().items()}
    assert states == {"inside": "stopped", "dots": "waiting", "whole": "waiting", "link": "waiting", "odd": "waiting"}
    assert ask("curves", run=0, stage="inside")["rows"] == 1
    assert ask.reply("/api/samples?run=0&stage=inside").status == 404
    for name in ("dots", "whole", "link"):
        assert ask.reply(f"/api/curves?run=0&stage={name}").status == 404


def test_the_server_listens_on_loopback_on_the_port_asked_for(stage, serve):
    first, second = serve(stage).server, serve(stage).server
    assert first.server_address[0] == second.server_address[0] == "127.0.0.1"
    assert first.server_address[1] != second.server_address[1]
    assert first.url == f"http://127.0.0.1:{first.server_address[1]}/"
    with pytest.raises(ValueError, match=f"--port {first.server_address[1]}: .*; give another"):
        Server(View([]), first.server_address[1])


def test_the_command_prints_its_address_and_ends_on_ctrl_c(stage):
    command = [sys.executable, "-c", "import sys; from camelid.cli import main; sys.exit(main())", "watch", str(stage)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        address = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=20)
        connection.request("GET", "/api/state")
        assert json.loads(connection.getresponse().read())["runs"][0]["name"] == stage.name
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
