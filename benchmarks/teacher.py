"""How close the client of servers comes to a server's limit, and what that takes of a processor.

    python benchmarks/teacher.py [--per-minute 6000] [--latency 2] [--concurrency 200] [--seconds 75] [--out FOLDER]

Recorded answers are served in a process of its own, each after a wait, up to the limit of requests a minute: one more
within 60 s is refused and counted. The client asks as a teacher is asked, journal included, for so many seconds as the
limit would let through. By the server's clock: requests a second between the first wave of answers and the last
request, the most in any minute (of a shorter run the most in any fifth of it, as a share of what the limit allows
then), the most under way at once. The client's processor seconds are those of all its threads over the time that it
took. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import bisect
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from alternate import Clock, publish

from camelid.models.completion import read_completion
from camelid.models.replay_server import ReplayServer, ReplaySettings
from camelid.models.server import Server, ServerSettings

QUESTION, ANSWER = (
    "Tell me, at some length, about the number {}. " * 8,
    "The number {} is one more than the last. " * 20,
)
"""About 100 tokens and 200."""


def serve(file: str, per_minute: float, latency: float) -> None:
    """The other process: prints its address, and when its input ends what it saw."""
    server = ReplayServer(Path(file), ReplaySettings(requests_per_minute=per_minute, latency_seconds=latency))
    server.start()
    print(server.url, flush=True)
    sys.stdin.read()
    refused = server.counts["above the limit"]
    print(json.dumps({"came": server.came, "most_at_once": server.most_at_once, "refused": refused}))


def ask(url: str, journal: Path, number: int, concurrency: int, per_minute: float) -> dict[str, float]:
    """Seconds of the clock and of the processor for so many answers."""
    limits = {"concurrency": concurrency, "requests_per_minute": per_minute, "tokens_per_minute": 1e9}
    settings = ServerSettings(base_url=url, model="recorded", journal=str(journal), **limits)
    server = Server(settings, "/chat/completions", read_completion)
    bodies = [
        {"model": "recorded", "messages": [{"role": "user", "content": QUESTION.format(*[n] * 8)}], "max_tokens": 1024}
        for n in range(number)
    ]
    texts: dict[int, str] = {}
    clock = Clock()
    server.ask_each(enumerate(bodies), lambda n, asked: texts.update({n: asked.found.text if asked.found else ""}))
    took = clock.read()
    assert texts == {n: ANSWER.format(*[n] * 20) for n in range(number)}, "answers were lost or mixed up"
    assert server.journal is not None and server.journal.counts() == (number, number)
    return took


def most_within(times: list[float], seconds: float) -> int:
    """The most of the sorted times that lie in a window."""
    return max(bisect.bisect_left(times, at + seconds) - place for place, at in enumerate(times))


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--per-minute", type=float, default=6000)
    words.add_argument("--latency", type=float, default=2.0)
    words.add_argument("--concurrency", type=int, default=200)
    words.add_argument("--seconds", type=float, default=75)
    words.add_argument("--out", default="")
    words.add_argument("--serve", default="", help=argparse.SUPPRESS)
    chosen = words.parse_args()
    if chosen.serve:
        return serve(chosen.serve, chosen.per_minute, chosen.latency)
    number = round(chosen.per_minute * chosen.seconds / 60)
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"instruction": QUESTION.format(*[n] * 8), "output": ANSWER.format(*[n] * 20)} for n in range(number)]
        recorded = Path(folder) / "recorded.json"
        recorded.write_text(json.dumps(rows))
        command = [sys.executable, __file__, "--serve", str(recorded)]
        command += ["--per-minute", str(chosen.per_minute), "--latency", str(chosen.latency)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            took = ask(url, Path(folder) / "journal.sqlite", number, chosen.concurrency, chosen.per_minute)
            seen = json.loads(process.communicate()[0].splitlines()[-1])
    came = sorted(seen["came"])
    steady = [at for at in came if at > came[0] + 2 * chosen.latency]
    rate = (len(steady) - 1) / (steady[-1] - steady[0])
    window = 60.0 if chosen.seconds > 60 else chosen.seconds / 5
    most = most_within(came, window)
    publish(
        {
            "benchmark": "teacher.limit",
            "ours": rate,
            "unit": "requests/s",
            "n": len(steady),
            "limit": chosen.per_minute / 60,
            "share_of_limit": rate / (chosen.per_minute / 60),
            "window_seconds": window,
            "most_in_a_window": most,
            "most_in_a_window_share": most / (chosen.per_minute / 60 * window),
            "refused": seen["refused"],
            "most_at_once": seen["most_at_once"],
            "concurrency": chosen.concurrency,
            "latency_seconds": chosen.latency,
            "cpu_share": took["cpu_seconds"] / took["seconds"],
            "cpu_milliseconds_a_request": 1000 * took["cpu_seconds"] / number,
            "seconds": took["seconds"],
        },
        chosen.out,
    )


if __name__ == "__main__":
    main()
