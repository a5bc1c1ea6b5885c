"""Who writes the probes: a policy, chunk by chunk, or a model behind a chat server, reply by reply."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines
from camelid.evaluate.rules.attacks import Attack, cleaned, distinct, instruction
from camelid.judges.asking import Journal, Names, ask_what_is_missing
from camelid.models.policy import Policy
from camelid.runs import Run, derived_seed
from camelid.types import Messages, Rule


class Probe(NamedTuple):
    """What is asked of the prober."""

    rule: Rule
    attack: Attack
    number: int
    """Of the rule's probes."""


def drawn_texts(run: Run, wanted: Sequence[Probe]) -> list[str]:
    """What `prober_model` writes, or the target where none is given; kept in probes.jsonl."""
    s = run.settings
    file = run.path / "probes.jsonl"
    done = keep_whole_chunks(file, s.probes_a_chunk, len(wanted))
    if done < len(wanted):
        prober = Policy.load(run.inputs.get("prober_model", run.inputs["model"]), s.model, s.chat_format)
        with run.progress("probes", len(wanted), done) as tick:
            for start in range(done, len(wanted), s.probes_a_chunk):
                chunk = wanted[start : start + s.probes_a_chunk]
                ids = [prober.chat.prompt_ids(instruction(probe.rule, probe.attack)) for probe in chunk]
                drawn = prober.sample(ids, s.probing, seed=derived_seed(s.seed, "probes", start), tick=tick)
                texts = [prober.chat.completion_text(samples[0].ids) for samples in drawn]
                rows = zip(chunk, texts, strict=True)
                append_json_lines(file, [{"rule": p.rule.id, "attack": p.attack.id, "text": text} for p, text in rows])
    return [json.loads(line)["text"] for line in read_whole_lines(file)]


def served_texts(run: Run, wanted: Sequence[Probe]) -> list[str]:
    """What the server in `remote` writes; kept in replies.jsonl, so that nothing is asked twice."""
    journal = Journal(run.path / "replies.jsonl")
    names: list[Names] = [{"rule": probe.rule.id, "number": str(probe.number)} for probe in wanted]
    by_name = {tuple(name.values()): probe for name, probe in zip(names, wanted, strict=True)}

    def messages(name: Names) -> Messages:
        probe = by_name[tuple(name.values())]
        return instruction(probe.rule, probe.attack)

    with run.progress("probes", len(names), len(names) - len(journal.missing(names))) as tick:
        ask_what_is_missing(journal, run.settings.remote, names, messages, tick)
    texts = {(row["rule"], row["number"]): row["text"] for row in journal.rows}
    return [texts[name["rule"], name["number"]] for name in names]


def to_ask(
    wanted: Sequence[Probe], texts: Sequence[str], similar: float
) -> tuple[list[tuple[Probe, str]], dict[str, int]]:
    """Probes with their texts, without those that are not worth asking; and how many those are, by reason.

    Near copies are looked for among the probes of a rule and what the prober was told.
    """
    asked: list[tuple[Probe, str]] = []
    aside: Counter[str] = Counter()
    for rule in dict.fromkeys(probe.rule.id for probe in wanted):
        own = [(probe, cleaned(text)) for probe, text in zip(wanted, texts, strict=True) if probe.rule.id == rule]
        told = [own[0][0].rule.text, *dict.fromkeys(probe.attack.text for probe, _ in own)]
        places, reasons = distinct([text for _, text in own], told, similar)
        asked += [own[i] for i in places]
        aside += reasons
    return asked, dict(aside)
