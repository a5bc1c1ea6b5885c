"""A plan as a table with what it rests on, and as JSON. What is not known is said to be so, with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from camelid.cost_figures import MEMORY_WITHIN, STAGE_WITHIN, WHOLE_WITHIN
from camelid.expected import BYTES_A_TOKEN, TOKENS_A_TURN
from camelid.models.server_cost import ServerCost
from camelid.runs import Input, Output, Stage, function_name, sources
from camelid.table import print_table, shown_bytes, shown_count, shown_seconds, shown_usd

if TYPE_CHECKING:
    from camelid.models.probe import Speed
    from camelid.plan import Line

SHOWN_SOURCES = 2
IDLE = 0.85
"""Share of the cores that a process has in a second of products on a machine with little else to do."""


def plan_json(lines: Sequence[Line], speeds: Sequence[Speed]) -> dict[str, Any]:
    stages = [_as_json(line) for line in lines]
    here = {"stage": STAGE_WITHIN, "whole": WHOLE_WITHIN} if speeds else None
    asked = _asked_in_all(lines)
    total = _known(_total(lines)) | {"asked": _known(asdict(asked)) if asked else None}
    return {"stages": stages, "total": total, "speeds": [s._asdict() for s in speeds], "seconds_within_factor": here}


def print_lines(lines: Sequence[Line], speeds: Sequence[Speed]) -> None:
    """A plan as a table, and what it rests on."""
    rows = [_row(line.stage.name, _reads(line.stage), _numbers(line), line.state) for line in lines]
    rows.append(_row("total", "", _total(lines), "to do"))
    columns = ("stage", "reads", "trained", "sampled", "scored", "time", "memory")
    print_table(columns, rows, right=columns[2:])
    if asked := _asked_in_all(lines):
        _print_asked(lines, asked)
    print("\n" + "\n".join(_notes(lines, speeds)))


def _numbers(line: Line) -> dict[str, float]:
    cost = line.cost
    return {
        "trained_tokens": cost.trained_tokens,
        "sampled_tokens": cost.sampled_tokens,
        "scored_tokens": cost.scored_tokens,
        "seconds": line.seconds,
        "memory_bytes": cost.memory_bytes,
    }


def _total(lines: Sequence[Line]) -> dict[str, float]:
    """Sums over the stages; of memory the peak, since one stage runs after another. NaN where a part is NaN."""
    numbers = [_numbers(line) for line in lines]
    total = {name: sum(n[name] for n in numbers) for name in numbers[0]}
    memory = [n["memory_bytes"] for n in numbers]
    return total | {"memory_bytes": math.nan if any(map(math.isnan, memory)) else max(memory)}


def _asked_in_all(lines: Sequence[Line]) -> ServerCost | None:
    """What is asked of servers; None where no stage asks one."""
    asked = [line.cost.asked for line in lines if line.cost.server]
    return sum(asked, ServerCost()) if asked else None


def _print_asked(lines: Sequence[Line], in_all: ServerCost) -> None:
    """What is asked of whom, as a table of its own."""
    named = [(line.stage.name, line.cost.server.model, line.cost.asked) for line in lines if line.cost.server]
    rows = [
        [
            stage,
            model,
            *(_or_unknown(shown_count, n) for n in (asked.requests, asked.prompt_tokens, asked.completion_tokens)),
            _or_unknown(shown_usd, asked.usd),
            _or_unknown(shown_seconds, asked.seconds),
        ]
        for stage, model, asked in (*named, ("total", "", in_all))
    ]
    columns = ("stage", "asks", "requests", "prompt tokens", "completion tokens", "dollars", "waits for it")
    print()
    print_table(columns, rows, right=columns[2:])


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON: rounded, null where not known."""
    digits = {"seconds": 1, "usd": 6}
    return {n: None if math.isnan(value) else round(value, digits.get(n)) for n, value in numbers.items()}


def _as_json(line: Line) -> dict[str, Any]:
    stage = line.stage
    about: dict[str, Any] = {"stage": stage.name, "function": function_name(stage), "state": line.state}
    about |= {"reads": [_shown(source) for source in sources(stage)]} | _known(_numbers(line))
    about |= {"recomputed_layers": line.cost.recomputed.get("layers"), "device": line.cost.device.name}
    if line.cost.server:
        about["asked"] = {"model": line.cost.server.model, **_known(asdict(line.cost.asked))}
    return about | ({"why": line.why} if line.why else {}) | {"fits": fits(line)}


def fits(line: Line) -> bool | None:
    """Whether a stage's peak is below the device's memory; None where either is not known."""
    memory, needed = line.cost.device.memory_bytes, line.cost.memory_bytes
    return None if memory is None or not needed or math.isnan(needed) else needed <= memory


def _row(name: str, reads: str, numbers: Mapping[str, float], state: str) -> list[str]:
    tokens = [_or_unknown(shown_count, numbers[f"{what}_tokens"]) for what in ("trained", "sampled", "scored")]
    time = _or_unknown(shown_seconds, numbers["seconds"]) if state == "to do" else state
    return [name, reads, *tokens, time, _or_unknown(shown_bytes, numbers["memory_bytes"])]


def _or_unknown(shown: Callable[[float], str], number: float) -> str:
    return "unknown" if math.isnan(number) else shown(number)


def _reads(stage: Stage) -> str:
    """The sources in short: names of files, the first of them."""
    names = [_shown(source) if isinstance(source, Output) else source.name for source in sources(stage)]
    more = len(names) - SHOWN_SOURCES
    return ", ".join(names[:SHOWN_SOURCES]) + (f" and {more} more" if more > 0 else "")


def _shown(source: Input) -> str:
    return f"{source.stage}/{source.file}".rstrip("/") if isinstance(source, Output) else str(source)


def _notes(lines: Sequence[Line], speeds: Sequence[Speed]) -> list[str]:
    """What the numbers rest on, and what does not fit or is not known."""
    notes = [
        f"Tokens: {BYTES_A_TOKEN:.0f} bytes of text each, {TOKENS_A_TURN} a turn; completions as long as they may be."
    ]
    notes += [
        f"Time: each kind of work was rehearsed for some seconds in {speed.precision} on the {speed.device}, whose "
        f"bare products ran at {speed.operations_per_second / 1e9:,.0f} GFLOP/s. On 2 CPU cores a stage took its time "
        f"within a factor of {STAGE_WITHIN}, a whole recipe within {WHOLE_WITHIN}; elsewhere they may be further off. "
        f"Of memory, a recipe's stages took up to {MEMORY_WITHIN} times their estimates."
        for speed in speeds
    ]
    notes += [
        f"Other programs were running: this process had {speed.share_of_cores:.0%} of the cores while it was measured. "
        "Times are for a machine as busy as that, and further off than said; ask again when it is idle."
        for speed in speeds
        if speed.share_of_cores < IDLE
    ]
    notes += [device.described() for device in {line.cost.device for line in lines} if device.utilisation is not None]
    for line in lines:
        if line.cost.recomputed.get("layers"):
            again = line.cost.recomputed
            notes.append(
                f"{line.stage.name}: {again['layers']} of {again['of']} layers are computed again in backward passes, "
                "for memory (model.checkpointing)."
            )
        if fits(line) is False:
            has = shown_bytes(line.cost.device.memory_bytes or 0)
            notes.append(f"{line.stage.name} does not fit: it needs {shown_bytes(line.cost.memory_bytes)} of {has}.")
        if math.isnan(line.seconds) or math.isnan(line.cost.memory_bytes):
            notes.append(f"{line.stage.name}: unknown where {_missing(line)}.")
    notes += _asking_notes(lines)
    unknown = [f"{line.stage.name} ({line.why})" for line in lines if line.state == "unknown"]
    return notes + ([f"Not counted, since nothing is known of them: {', '.join(unknown)}."] if unknown else [])


def _asking_notes(lines: Sequence[Line]) -> list[str]:
    """What the costs of servers rest on, and what they lack."""
    notes = []
    if any(line.cost.server for line in lines):
        notes.append(
            "Servers: each question once, answered as long as it may be; what a journal has already is counted too, "
            "and costs nothing. Waiting for them is in no stage's time."
        )
    for line in lines:
        server, asked, name = line.cost.server, line.cost.asked, line.stage.name
        if server is None:
            continue
        if math.isnan(asked.usd):
            notes.append(f"{name}: no dollars without a table of prices (prices) and a limit on answers.")
        elif 0 < server.budget_usd < asked.usd:
            notes.append(f"{name}: its budget of {server.budget_usd:g} dollars may not do; it stops there.")
        if math.isnan(asked.seconds):
            notes.append(
                f"{name}: no waiting time without the server's limit (requests_per_minute, tokens_per_minute)."
            )
        elif asked.requests:
            within = shown_seconds(asked.slowest_answer(server.concurrency))
            notes.append(f"{name}: at its limit, if {server.concurrency} at once have their answers within {within}.")
    return notes


def _missing(line: Line) -> str:
    """Why a number of a stage is not known."""
    cost = line.cost
    if any(map(math.isnan, (cost.trained_tokens, cost.sampled_tokens, cost.scored_tokens))):
        return "it depends on rows that were not given (give their file, or --rows, --prompt-tokens, --answer-tokens)"
    missing = "tflops" if cost.device.operations_per_second is None else "bandwidth"
    return f"it depends on the device's {missing} in this precision, which was not given"
