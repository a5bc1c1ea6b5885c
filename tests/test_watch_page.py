"""The live view's page in a real browser: curves that grow by themselves, choices, and other people's text kept text.

Skipped where no Chromium is installed. A driver, served beside the page's own scripts and so within its policy, clicks
and writes what it sees into the page.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from camelid.serve.watch.runs import read_watched
from camelid.serve.watch.server import Server
from camelid.serve.watch.view import View
from test_report_page import ATTACK
from test_report_script import BROWSER, SWITCHES
from test_watch import write_rows

pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed: apt install chromium")

DRIVER = """
const seen = {};
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const texts = (selector, within) => all(selector, within).map((element) => element.textContent);
const until = async (done) => { while (!done()) await new Promise((go) => setTimeout(go, 50)); };
const times = () => Number(document.body.dataset.shown ?? 0);
const plot = (name) => all(".plot").find((element) => element.querySelector("b").textContent === name);
async function drive() {
  await until(() => times() >= 1);
  seen.title = document.querySelector("h1").textContent;
  seen.stages = texts(".chip .name");
  seen.legend = texts("#legend span");
  seen.plots = texts(".plot b");
  seen.points = all("circle.curve", plot("loss")).length;
  const points = () => plot("long").querySelector("polyline").getAttribute("points").split(" ").length;
  seen.long = points();
  seen.newest = plot("loss").querySelector(".values").textContent;
  seen.guards = all("#guard-rows tbody tr").map((row) => [row.className, ...texts("th, td", row).slice(0, 2)]);
  seen.note = document.getElementById("curves-note").textContent;
  seen.limit = all("line.limit", plot("kl")).length;
  seen.trips = all("line.trip", plot("kl")).length;
  seen.samples = texts(".sample .completion");
  seen.scores = texts(".sample .score");
  await until(() => times() >= 3);
  seen.longer = points();
  seen.grown = all("circle.curve", plot("loss")).length;
  seen.grownNewest = plot("loss").querySelector(".values").textContent;
  const svg = plot("loss").querySelector("svg");
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: svg.getBoundingClientRect().left + 53 }));
  seen.pointed = plot("loss").querySelector(".values").textContent;
  seen.pointedToo = plot("kl").querySelector(".values").textContent;
  svg.dispatchEvent(new PointerEvent("pointerleave"));
  const log = plot("loss").querySelector(".log");
  seen.log = [log.hidden, plot("kl").querySelector(".log").hidden];
  log.click();
  seen.logPressed = log.getAttribute("aria-pressed");
  const before = times();
  all("#kinds button").find((button) => button.textContent === "sft").click();
  await until(() => times() > before);
  seen.sft = [texts(".plot b"), texts("#legend span")];
  all("button.chip").at(-1).click();
  await until(() => times() > before + 1);
  seen.both = texts("#legend span");
  document.getElementById("samples-order").value = "high";
  document.getElementById("samples-order").dispatchEvent(new Event("change"));
  seen.high = texts(".sample .score");
  all(".sample .more")[0].click();
  seen.open = all(".sample.open").length;
  seen.foreign = all("script, img, link, iframe").map((element) => element.src ?? element.href);
  const shown = document.createElement("pre");
  shown.id = "seen";
  shown.textContent = JSON.stringify(seen);
  document.body.append(shown);
}
drive();
"""
NEWEST = "round-2/ppo"


class GrowingView(View):
    """A view of a run that goes on: at the second question for its state there are two more rows."""

    asked = 0
    growing: Path

    def answer(self, question: str, given: Mapping[str, str]) -> dict[str, Any]:
        if question == "state":
            self.asked += 1
            if self.asked == 2:
                write_rows(self.growing, [{"step": n, "loss": 1 / n, "kl": n, "long": n} for n in (5, 6)], "a")
        return super().answer(question, given)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("runs") / "mine"
    names = {"sft": "sft-1", "round-1/ppo": "round-1/ppo-2", NEWEST: "round-2/ppo-3", ATTACK: "odd-4"}
    for place in names.values():
        write_rows(
            root / place / "metrics.jsonl", [{"step": n, "loss": 20 / n**3, "kl": n, ATTACK: 1} for n in (1, 2, 3, 4)]
        )
    (root / "odd-4" / "metrics.jsonl").unlink()
    write_rows(root / names[NEWEST] / "metrics.jsonl", [{"step": 1, "long": n} for n in range(901)], "a")
    (root / "run.json").write_text(json.dumps({"stages": names, "planned": [*names, "report"]}))
    texts = [("first", 0.5), (ATTACK, -1.0), ("last", 0.25)]
    rows = [
        {"iteration": 4, "prompt": ATTACK, "completion": t, "scores": {"score": s, ATTACK: ATTACK}} for t, s in texts
    ]
    write_rows(root / names[NEWEST] / "samples.jsonl", rows)
    trips = [("kl", 3), ("kl", 4), (ATTACK, 1)]
    rows = [{"iteration": n, "guard": guard, "value": n, "limit": 2.5, "action": "warn"} for guard, n in trips]
    write_rows(root / names[NEWEST] / "guards.jsonl", rows)
    view = GrowingView(read_watched([str(root)]))
    view.growing = root / names[NEWEST] / "metrics.jsonl"
    with Server(view) as server:
        page, kind = server.page["/"]
        server.page["/"] = page.replace(b"</head>", b'<script src="driver.js" defer></script></head>'), kind
        server.page["/driver.js"] = DRIVER.encode(), "text/javascript; charset=utf-8"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = dumped(server.url, tmp_path_factory.mktemp("profile"))
        server.shutdown()
    found = re.search(r'<pre id="seen">(.*?)</pre>', text, re.DOTALL)
    assert found, f"the driver did not come to its end: {text[-3000:]}"
    return json.loads(html.unescape(found[1]))


def dumped(url: str, profile: Path) -> str:
    """The page after some seconds of its own time, which stands still while it waits for an answer."""
    switches = (*SWITCHES, f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--window-size=1200,900")
    command = [BROWSER, *switches, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_stage_at_hand_is_drawn_in_all_its_rounds(seen: dict[str, Any]) -> None:
    assert seen["title"] == "mine"
    assert seen["stages"] == ["sft", "ppo", "ppo", ATTACK.split("/")[-1], "report"]
    assert seen["legend"] == ["round-1/ppo", NEWEST]
    assert seen["plots"] == ["kl", "loss", ATTACK, "long"]
    assert seen["points"] == 8  # four of each round
    assert seen["newest"] == "0.31250.3125 at 4"  # 20 / 4^3, of both


def test_new_rows_come_by_themselves(seen: dict[str, Any]) -> None:
    assert seen["grown"] == 10
    assert seen["grownNewest"] == "0.3125 at 40.1667 at 6"


def test_a_long_curve_takes_new_rows_into_its_last_point(seen: dict[str, Any]) -> None:
    assert (seen["long"], seen["longer"]) == (226, 226)  # four rows a point: 901 and 903 of them
    assert "a point stands for up to 4 rows" in seen["note"]


def test_values_under_the_pointer_are_shown_in_all_plots(seen: dict[str, Any]) -> None:
    assert seen["pointed"] == "2020 at 1"
    assert seen["pointedToo"] == "11 at 1"


def test_a_logarithmic_scale_is_offered_where_values_span_more_than_a_power_of_ten(seen: dict[str, Any]) -> None:
    assert seen["log"] == [False, True]
    assert seen["logPressed"] == "true"


def test_other_stages_can_be_chosen_and_laid_over_one_another(seen: dict[str, Any]) -> None:
    assert seen["sft"] == [["kl", "loss", ATTACK], []]
    assert seen["both"] == ["sft", NEWEST]


def test_a_guard_is_red_while_its_newest_trip_is_at_the_newest_step(seen: dict[str, Any]) -> None:
    assert seen["guards"] == [["tripped", "kl", "warn"], ["was-tripped", ATTACK, "good"]]
    assert (seen["limit"], seen["trips"]) == (1, 2)


def test_samples_come_newest_first_or_by_score(seen: dict[str, Any]) -> None:
    assert seen["samples"] == ["last", ATTACK, "first"]
    assert seen["scores"] == ["0.25", "−1", "0.5"]
    assert seen["high"] == ["0.5", "0.25", "−1"]
    assert seen["open"] == 1


def test_text_of_others_stays_text(seen: dict[str, Any]) -> None:
    names = [source.rsplit("/", 1)[-1] for source in seen["foreign"]]
    assert names == ["data:,", "watch.css", "plot.js", "watch.js", "driver.js"]
