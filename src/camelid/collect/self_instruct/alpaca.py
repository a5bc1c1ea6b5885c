"""Alpaca's way: lists of 20 tasks with input and output, three seed tasks shown (Taori et al. 2023).

Left out: `logit_bias` {50256: -100}, a ban of text-davinci-003's end of text that means nothing to other models
(`teacher.server.extra` can carry it). A task without an output, of which their data has some, is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from camelid.collect.self_instruct.made import Made, Making, as_row
from camelid.collect.self_instruct.pool import Found, Way, gather
from camelid.collect.self_instruct.prompts import ask_for_list
from camelid.collect.self_instruct.replies import Tasks, read_list
from camelid.collect.self_instruct.seeds import drawn
from camelid.models.teacher import Decoding, Said
from camelid.runs import Settings, derived_seed
from camelid.types import Messages

SHOWN = 3


class AlpacaSettings(BaseModel):
    """Alpaca's way."""

    model_config = Settings.model_config

    listing: Decoding = Decoding(temperature=1.0, top_p=1.0, max_tokens=3072, stop=("\n20", "20."))
    """How lists are drawn. An answer with `20.` in it ends the list, too, as it did in theirs."""


def by_alpaca(m: Making, s: AlpacaSettings) -> Made:
    """Tasks as they are kept become rows."""

    def ask(number: int, found: Sequence[Found]) -> Messages:
        return ask_for_list(m.prompts, drawn(m.seeds, SHOWN, derived_seed(m.seed, "shown", number)))

    def read(said: Said) -> Tasks:
        return read_list(said.text, SHOWN + 1, cut=said.finish_reason == "length")

    def wrong(said: Said) -> str:
        tasks = read(said)
        return "" if tasks.tasks else f"no task of use: {tasks.wrong[0][1]}"

    way = Way(ask, read, wrong, s.listing, "alpaca")
    gathered = gather(m.run, m.teacher, [seed.instruction for seed in m.seeds], way, m.wanted)
    made = Made(gathered, s.listing)
    for one in gathered.found:
        assert one.task.instance is not None
        made.add(as_row(m, one.task.instruction, one.task.instance), one, one.said, {})
    return made
