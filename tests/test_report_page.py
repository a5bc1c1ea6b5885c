"""The report's page: its numbers are the data's, nothing in it loads or runs, and missing parts are named."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from camelid.evaluate.report.page import write_report
from report_example import VERSIONS, estimate, full_report

FIGURES = {"helpfulness-safety", "over-refusal", "reward-drift", "ppo", "best-of-n", "reward-accuracy"}
VOID = {"meta", "img", "source", "input", "link", "br", "hr", "base"}


class Page(HTMLParser):
    """A parsed page: all tags with their attributes, the text outside of script and style, and whether tags close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(report: dict[str, Any], folder: Path) -> Page:
    page = Page(write_report(report, folder).read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    folder = tmp_path_factory.mktemp("report")
    return folder, write(full_report(), folder)


def hovers(page: Page) -> set[str]:
    return {attributes.get("title") or "" for attributes in page.all("td")}


def test_twin_is_exactly_the_report(written: tuple[Path, Page]) -> None:
    assert json.loads((written[0] / "report.json").read_text(encoding="utf-8")) == full_report()


def test_headlines_show_value_interval_and_n(written: tuple[Path, Page]) -> None:
    text = written[1].text
    # 0.612 of 240: standard error sqrt(0.612 * 0.388 / 240) = 0.03145, half-width 6.2 points: 55% to 67%.
    assert "Win rate against the start 61% better than the start" in text
    assert "95% interval 55% to 67%, n = 240" in text
    assert "Unsafe prompts refused 18% → 49% better than the start" in text
    # Start 0.083 +- 0.0698, final 0.2 +- 0.1012: change 0.117, below by hypot(.1012, .0698) = .123: -0.6 to +24 points.
    assert "Borderline prompts refused 8% → 20% no clear change" in text
    assert "Change: +12 points (95% interval −1 to +24). The interval includes no change." in text


def test_every_estimate_of_every_version_is_on_the_page_with_interval_and_n(written: tuple[Path, Page]) -> None:
    shown = hovers(written[1])
    report = full_report()
    counted = 0
    for entry in report["versions"] + report["rewards"]:
        for value in estimates_in(entry):
            # The exact decimals are the formatter's business (tested there); value, both ends and n must be there.
            numbers = [value["value"], value["low"], value["high"]]
            assert any(matches(text, numbers, value["n"]) for text in shown), (entry.get("version"), value)
            counted += 1
    # 13 for each of 6 versions, but for the start's 3 win rates and KL; 13 for each of 4 reward models.
    assert counted == 6 * 13 - 4 + 4 * 13


def estimates_in(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    if "standard_error" in value:
        return [value]
    return [found for part in value.values() for found in estimates_in(part)]


def matches(text: str, numbers: list[float], n: int) -> bool:
    """Whether a hover text gives these numbers, as percentages or plain, to the digits that it prints."""
    found = re.fullmatch(r"(\S+), 95% interval (\S+) to (\S+), n = (\d+)", text)
    if not found or int(found[4]) != n:
        return False
    for number, printed in zip(numbers, found.groups()[:3], strict=True):
        digits = printed.replace("−", "-").rstrip("%")
        places = len(digits.partition(".")[2])
        factor = 100 if printed.endswith("%") else 1
        if abs(float(digits) - factor * number) > 0.5000001 * 10**-places:
            return False
    return True


def test_column_heads_say_n(written: tuple[Path, Page]) -> None:
    text = written[1].text
    assert "vs. previous ↑ n = 239" in text
    assert "borderline ↓ n = 60" in text
    assert "all pairs ↑ n = 160–180" in text  # models tested on 160 pairs, the judge on 180


def test_all_versions_notes_data_licences_and_stages_are_named(written: tuple[Path, Page]) -> None:
    text = written[1].text
    report = full_report()
    for version in VERSIONS:
        assert text.count(version) >= 5, version  # path, two tables, sources, every conversation
    for note in report["notes"]:
        assert note in text
    assert "demonstrations 530 0 camelid starter set Apache-2.0" in text
    assert "private notes 9 – not stated not stated" in text
    # 103.2 s and 4210 s make 4313.2 s = 1 h 11 min 53 s.
    assert "sft sft-1a2b3c4d 1 min 43 s 2.1 GB" in text
    assert "together 1 h 11 min 2.9 GB" in text
    assert "22 November 2026" in text and "commit 8494c7a" in text and "uncommitted" not in text


def test_refusals_by_source_are_their_own_columns(written: tuple[Path, Page]) -> None:
    assert "xstest_prompts, %" in written[1].text
    # The start refused 0.175 - 0.05 = 12.5% of 40 unsafe prompts of that source.
    assert any(text.startswith("12.5%") and text.endswith("n = 40") for text in hovers(written[1]))


def test_refused_answers_are_marked_and_no_others(written: tuple[Path, Page]) -> None:
    cards = [a["class"] for a in written[1].all("div") if (a.get("class") or "").split()[:1] == ["answer"]]
    answers = [answer for example in full_report()["examples"] for answer in example["answers"]]
    assert cards == ["answer refused" if answer["refused"] else "answer" for answer in answers]


def test_pictures_are_inside_with_alternative_text(written: tuple[Path, Page]) -> None:
    page = written[1]
    images, dark = page.all("img"), page.all("source")
    assert len(images) == len(dark) == len(FIGURES)
    for image in images:
        assert png_size(decoded(image["src"])) == (1160, 920)
        assert len(image["alt"] or "") > 40
    for source, image in zip(dark, images, strict=True):
        assert png_size(decoded(source["srcset"])) == (1160, 920)
        assert source["srcset"] != image["src"]
    path_alt = images[0]["alt"] or ""
    assert path_alt.index("start: 50% at 18%") < path_alt.index("round-2/ppo: 61% at 49%")


def decoded(uri: str | None) -> bytes:
    head, _, data = (uri or "").partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data, validate=True)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header chunk (PNG specification, 11.2.2); the end chunk proves it whole."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_figure_files_are_those_of_the_page(written: tuple[Path, Page]) -> None:
    files = {path.stem: path.read_bytes() for path in (written[0] / "figures").iterdir()}
    assert set(files) == FIGURES
    assert set(files.values()) == {decoded(image["src"]) for image in written[1].all("img")}


def test_page_loads_nothing_and_runs_only_its_own_script(written: tuple[Path, Page]) -> None:
    folder, page = written
    raw = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(", raw)
    assert not page.all("link") and not page.all("iframe")
    for _, attributes in page.tags:
        for name in ("src", "srcset", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert len(page.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


ATTACK = """</script><script>alert("x")</script><img src=x onerror='alert(1)'>"""


def test_foreign_text_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    report = full_report()
    harmless = write(report, tmp_path / "before")
    attacked = ATTACK + "/ppo"
    report["title"] = report["machine"] = report["commit"] = ATTACK
    report["notes"].append(ATTACK)
    report["versions"][-1]["version"] = report["headline"]["version"] = attacked
    report["versions"][0]["refusals_by_source"] = {ATTACK: {ATTACK: estimate(0.5, 10)}}
    for example in report["examples"]:
        example["answers"][-1]["version"] = attacked
        example["prompt"][0]["content"] = example["answers"][0]["text"] = ATTACK
        example["tags"].append(ATTACK)
    for part in ("rewards", "ppo", "best_of_n", "data", "stages"):
        report[part][0]["name"] = ATTACK
    report["rewards"][0]["by_rating"][ATTACK] = {"accuracy": estimate(0.5, 10), "longer_wins": None}
    page = write(report, tmp_path / "after")
    raw = (tmp_path / "after" / "report.html").read_text(encoding="utf-8")
    assert ATTACK not in raw and html.escape(ATTACK, quote=False) not in raw  # quotes are escaped too, as in attributes
    assert page.scripts == harmless.scripts
    assert len(page.all("img")) == len(FIGURES)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    # title, head, machine, commit, note, prompts, answers, tags and more: each must be readable as it was written
    assert page.text.count(" ".join(ATTACK.split())) >= 20


def test_uncommitted_changes_are_said_and_so_is_an_unknown_commit(tmp_path: Path) -> None:
    report = minimal_report()
    report.update(commit="8494c7a", dirty=True)
    assert "commit 8494c7a, with uncommitted changes" in write(report, tmp_path).text
    report.update(commit=None, dirty=None)
    assert "installed package, commit unknown" in write(report, tmp_path).text


def minimal_report() -> dict[str, Any]:
    """A start that was only asked harmful things; everything else is absent or None."""
    start = {"version": "start", "n": 20, "win_rate_vs_start": None, "refusals": {"unsafe": estimate(0.25, 20)}}
    return {"title": "one version", "versions": [start], "headline": None, "ppo": None, "rewards": []}


def test_one_version_without_the_rest(tmp_path: Path) -> None:
    page = write(minimal_report(), tmp_path)
    assert page.text.count("not measured") >= 3
    assert "No PPO stage in this run." in page.text and "No reward model in this run." in page.text
    assert "Not measured in this run: Win rate: vs. start; Win rate: equal length;" in page.text
    assert "25 ± 19" in page.text  # 1.96 * sqrt(0.25 * 0.75 / 20) = 0.19
    assert not page.all("img") and list((tmp_path / "figures").iterdir()) == []


def test_no_version_at_all_is_a_page_too(tmp_path: Path) -> None:
    assert "nothing happened" in write({"title": "nothing happened", "versions": []}, tmp_path).text


def test_without_ppo_the_other_figures_stay(tmp_path: Path) -> None:
    report = full_report()
    write(report, tmp_path)
    report["ppo"] = []
    report["versions"] = [v for v in report["versions"] if not v["version"].endswith("ppo")]
    report["headline"]["version"] = "round-2/reject"
    page = write(report, tmp_path)
    # The picture of the earlier report in the same folder must not stay behind.
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == FIGURES - {"ppo"}
    assert "Not drawn. No PPO stage in this run." in page.text


def test_a_version_that_a_figure_cannot_show_is_named(tmp_path: Path) -> None:
    report = full_report()
    report["versions"][2]["win_rate_vs_start"] = None
    assert "Not measured, so not shown: round-1/reject." in write(report, tmp_path).text


def test_worse_than_the_start_is_said(tmp_path: Path) -> None:
    report = full_report()
    report["headline"].update(win_rate=estimate(0.3, 240), borderline_refused=estimate(0.6, 60))
    text = write(report, tmp_path).text
    assert "Win rate against the start 30% worse than the start" in text
    assert "The interval lies below 50%" in text
    assert "Borderline prompts refused 8% → 60% worse than the start" in text


def test_many_versions_and_one_observation(tmp_path: Path) -> None:
    report = full_report()
    for i in range(6):
        version = copy.deepcopy(report["versions"][-1])
        version["version"] = f"round-{i + 3}/ppo"
        report["versions"].append(version)
    # The interval of a mean of one observation is infinite.
    lone = {"value": 0.3, "low": float("-inf"), "high": float("inf"), "n": 1, "standard_error": float("inf")}
    report["versions"][-1]["judge_score"] = lone
    page = write(report, tmp_path)
    assert "0.3 ± unknown" in page.text
    assert "0.30, 95% interval −∞ to ∞, n = 1" in hovers(page)
    # With many versions the answers of all stand on the page; the boxes open the first two and the headline's.
    boxes = [box for box in page.all("input") if box.get("type") == "checkbox"]
    assert [i for i, box in enumerate(boxes) if "checked" in box] == [0, 1, 5] and len(boxes) == 12


def test_page_module_imports_neither_torch_nor_matplotlib() -> None:
    code = "import sys, camelid.evaluate.report.page; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_teachers_cost_is_told_where_there_were_teachers(tmp_path):
    row = {"name": "self-chat", "asked": 120, "kept": 100, "tokens_a_row": 812.4, "usd_a_row": 0.00123}

    def written(**parts: object) -> str:
        return write_report({"versions": []} | parts, tmp_path).read_text(encoding="utf-8")

    page = written(teachers=[row])
    assert '<h2 id="teachers">' in page and "0.00123" in page and "812" in page
    assert "0.00123" not in written(teachers=[row | {"usd_a_row": None}])
    assert '<h2 id="teachers">' not in written()
