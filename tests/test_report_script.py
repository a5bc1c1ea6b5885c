"""The page's script in a real browser: sorting, filters, marked differences. Skipped where no Chromium is installed.

A second script drives the page by clicks and writes what it sees into it; the page's policy is widened by that script's
hash and stays in force otherwise.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from camelid.evaluate.report.page import render_page
from report_example import full_report
from test_report_page import ATTACK

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed: apt install chromium")
SWITCHES = (
    "--headless",
    "--no-sandbox",  # as root it starts in no other way; the page is ours
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FIRST = f"The cat sat\non the mat. {ATTACK}"
SECOND = f"The cat lay\non a mat today. {ATTACK}"

DRIVER = """
const seen = {};
const choose = (id, value) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(control.tagName === "INPUT" ? "input" : "change"));
};
const open = () => all(".example").map((e, i) => (e.hidden ? -1 : i)).filter((i) => i >= 0);
const reset = () => document.getElementById("reset").click();
const columns = () => new Set(all(".answer").filter((a) => !a.hidden).map((a) => Number(a.dataset.version))).size;
const table = document.querySelector("section[aria-labelledby=versions] table");
const head = [...table.tHead.rows].at(-1).cells[1];
const order = () => [head.ariaSort, [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim())];
seen.start = order();
seen.buttons = all("thead tr:last-child th").every((cell) => cell.querySelector("button"));
for (const turn of ["first", "second", "third"]) {
  head.querySelector("button").click();
  seen[turn] = order();
}
seen.all = open();
choose("by-tag", "unsafe");
seen.unsafe = open();
reset();
choose("find-text", "CAT  lay");
seen.text = open();
reset();
for (const how of ["some", "none", "all", "split"]) {
  choose("by-refusal", how);
  seen[`refused_${how}`] = open();
}
reset();
choose("by-differ", "same");
seen.same = open();
choose("by-differ", "differ");
seen.differ = open();
seen.status = document.getElementById("shown").textContent;
reset();
seen.before = columns();
choose("by-first", "0");
choose("by-second", "1");
seen.pair = columns();
const marks = (place, tag) => all(tag, document.querySelectorAll(".example")[place]).map((m) => m.textContent);
seen.gone = marks(0, "del");
seen.added = marks(0, "ins");
seen.texts = all(".text", document.querySelector(".example")).slice(0, 2).map((box) => box.textContent);
seen.equal = [marks(1, "del"), marks(1, "ins")];
reset();
seen.unmarked = all("del, ins").length;
choose("by-first", "2");
choose("by-second", "3");
seen.long = document.getElementById("shown").textContent;
reset();
choose("find-measure", "ARC");
seen.measures = document.getElementById("measures-shown").textContent;
all("#chooser input").forEach((box) => box.checked && box.click());
seen.nobody = open();
seen.images = all("img").length;
const shown = document.createElement("pre");
shown.id = "seen";
shown.textContent = JSON.stringify(seen);
document.body.append(shown);
"""


def conversation(texts: list[str], refused: list[bool], tag: str) -> dict[str, Any]:
    example = copy.deepcopy(full_report()["examples"][0])
    example["tags"] = [tag]
    for answer, text, refuses in zip(example["answers"], texts, refused, strict=True):
        answer.update(text=text, refused=refuses)
    return example


def measure(name: str) -> dict[str, Any]:
    parts = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90}
    return {"run": "a", "stage": "tasks", "kind": "x.tasks", "version": "sft", "measure": name, **parts}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver saw. Of six versions the first two and the last are open at first."""
    report = full_report()
    report["examples"] = [
        conversation([FIRST, SECOND, "a " * 2001, "b " * 2001, "x", "x"], [False] * 6, "helpful"),
        conversation(["No."] * 6, [True] * 6, "unsafe"),
        conversation(["No.", "Yes.", "x", "x", "x", "No."], [True, False, False, False, False, True], "unsafe"),
        conversation(["Same.", "Same.", "other", "x", "x", "Same."], [False, False, True, False, False, False], "b"),
    ]
    report["measures"] = [measure("arc_easy.acc"), measure("piqa.acc")]
    page = render_page(report, [[]])
    allowed = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    page = page.replace("script-src '", f"script-src 'sha256-{allowed}' '")
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page.replace("</body>", f"<script>{DRIVER}</script></body>"), encoding="utf-8")
    return json.loads(dumped(file))


def dumped(file: Path) -> str:
    profile = f"--user-data-dir={file.parent / 'profile'}"
    command = [BROWSER, *SWITCHES, profile, "--dump-dom", file.as_uri()]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', text, re.DOTALL)
    assert found, "the driver did not come to its end: the script failed before"
    return html.unescape(found[1])


def test_a_column_sorts_down_up_and_back(seen: dict[str, Any]) -> None:
    versions = ["start", "sft", "round-1/reject", "round-1/ppo", "round-2/reject", "round-2/ppo"]
    assert seen["buttons"]  # buttons: the keyboard works on them as on any
    assert seen["start"] == [None, versions]
    # Win rates .531 .548 .569 .571 .612 in order; the start has none and comes last either way.
    assert seen["first"] == ["descending", [*reversed(versions[1:]), "start"]]
    assert seen["second"] == ["ascending", [*versions[1:], "start"]]
    assert seen["third"] == seen["start"]


def test_filters_by_tag_text_refusal_and_difference(seen: dict[str, Any]) -> None:
    assert seen["all"] == [0, 1, 2, 3]
    assert seen["unsafe"] == [1, 2]
    assert seen["text"] == [0]
    # Of the versions shown: all refuse 1, some 2, none 0; in 3 only a version refuses that is not shown.
    assert seen["refused_some"] == [1, 2] and seen["refused_none"] == [0, 3]
    assert seen["refused_all"] == [1] and seen["refused_split"] == [2]
    assert seen["same"] == [1, 3] and seen["differ"] == [0, 2]
    assert seen["status"] == "2 of 4 shown"
    assert seen["nobody"] == []
    assert seen["measures"] == "1 of 2 measures"


def test_differences_of_two_versions_are_marked_by_words(seen: dict[str, Any]) -> None:
    assert (seen["before"], seen["pair"]) == (3, 2)
    assert seen["gone"] == ["sat", "the mat."]
    assert seen["added"] == ["lay", "a mat today."]
    assert seen["long"] == "4 of 4 shown, 1 too long to mark"  # 2,001 words each: more than 4 million pairs of words
    assert seen["equal"] == [[], []] and seen["unmarked"] == 0


def test_marking_changes_no_text_and_obeys_none(seen: dict[str, Any]) -> None:
    assert seen["texts"] == [FIRST, SECOND]
    assert seen["images"] == 0
