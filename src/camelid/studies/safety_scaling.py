"""Safety data scaling: what do more safety rows change, in refusals of unsafe and of safe prompts and in helpfulness?

LLaMA-2 trained with 0, 1, 10, 25, 50 and 100% of its safety rows beside the same helpful ones; unsafe prompts were
refused more, false refusals rose on borderline prompts, and helpfulness stayed (arXiv:2307.09288, section 4.2.3). Here
the 2,483 rows of Bianchi et al. (2024, arXiv:2309.07875) stand beside rows of Alpaca; XSTest is asked. On two cores
the study stops at a quarter of the rows; the other shares are for a GPU. Rows are cut to their first tokens, for
refusing is decided there. Refusals are told by a rule, whose check against XSTest's human labels is an arm of the page.

    camelid study safety-scaling
    camelid study safety-scaling --set "shares=[0, 0.01, 0.1, 0.25, 0.5, 1]"
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.safety_share import ShareSettings, safety_share
from camelid.evaluate.safety.refusal_rates import RefusalSettings, evaluate_safety
from camelid.evaluate.safety.rule_check import RuleCheckSettings, check_refusal_rule
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.train.sft import SftSettings, train_sft

KINDS = {"unsafe": "unsafe prompts", "borderline": "safe prompts of XSTest", "helpful": "Alpaca's prompts"}
RULE = "the rule, against people"
FLAT = 0.05
"""Nats a token that count as no change."""


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    shares: tuple[float, ...] = Field(default=(0.0, 0.01, 0.1, 0.25), min_length=2)
    """Shares of the safety rows, the first of them 0, which the others are compared to."""
    helpful: ImportSettings = ImportSettings(max_rows=320, max_words=60)
    """Which of Alpaca's rows stand beside the safety rows."""
    hold_out: HoldOutSettings = HoldOutSettings(held_out=64)
    """Those that are asked, and whose answers are measured, instead."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=18, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=32,
        epochs=1,
        warmup_steps=3,
        max_tokens=44,
        too_long="cut",
    )
    """Fine-tuning."""
    evaluate: RefusalSettings = RefusalSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=24), prompts_a_chunk=257
    )
    """Refusals, and the likelihood of the held-out answers."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    if s.shares[0] != 0:
        raise ValueError(f"shares = {list(s.shares)}: let the first be 0, which the others are compared to")
    start, cells = resolve_model(s.start_model), Cells()
    xstest, talks = s.folder / "safety/xstest_prompts.csv", s.folder / "conversations"
    reads = {"data": [talks / "safety_only_2483.json"], "exclude": [xstest]}
    safety = Output(cells.add("data/safety", import_data, ImportSettings(), **reads), "rows.jsonl")
    reads = {"data": [talks / "alpaca_random_9k.json"], "exclude": [xstest]}
    helpful = Output(cells.add("data/helpful", import_data, s.helpful, **reads), "rows.jsonl")
    split = cells.add("data/split", hold_out, s.hold_out, conversations=helpful)
    asked: dict[str, Any] = {
        "prompts": [xstest, Output(split, "prompts.jsonl")],
        "demonstrations": Output(split, "reference.jsonl"),
    }
    arms = [f"{share:.0%}" for share in s.shares]
    for seed in range(s.seeds):
        for arm, share in zip(arms, s.shares, strict=True):
            place, sft = f"seed-{seed}/{share:g}", s.sft.model_copy(update={"seed": seed})
            rows = {"helpful": Output(split, "train.jsonl"), "safety": safety}
            mixed = cells.add(f"{place}/rows", safety_share, ShareSettings(share=share, seed=seed), **rows)
            made = cells.add(f"{place}/sft", train_sft, sft, model=start, demonstrations=Output(mixed, "rows.jsonl"))
            before = {"before": Output(f"seed-{seed}/0/evaluate", "")} if share else {}
            settings = s.evaluate.model_copy(update={"seed": seed})
            cells.measured(
                arm,
                seed,
                cells.add(
                    f"{place}/evaluate", evaluate_safety, settings, model=Output(made, "model"), **asked, **before
                ),
            )
    labelled = [s.folder / f"safety/xstest_completions/xstest_v2_completions_{by}.csv" for by in ("gpt4", "llama2new")]
    cells.measured(RULE, 0, cells.add("rule", check_refusal_rule, RuleCheckSettings(), answers=labelled))
    return cells.conclude(
        title="Safety data scaling",
        question=__doc__.partition("\n")[0],
        measures=measures(arms),
        claims=claims(arms),
        figures=(
            Figure(title="Refused", measures=tuple(f"refused, {what}" for what in KINDS.values()), x_label="%"),
            Figure(title="Held-out answers of Alpaca", measures=("nats a token",), x_label="nats a token"),
        ),
        notes=(
            f"All arms have the same rows of Alpaca; one pass over rows cut to {s.sft.max_tokens} tokens, so an arm "
            "with more safety rows also takes more steps.",
            f"Refusals are told from the first {s.evaluate.sampling.max_new_tokens} tokens of one answer a prompt. "
            f"'{RULE}' says how well the rule tells, on answers of GPT-4 and LLaMA-2 that it was not written on.",
            "Changes are to the arm without safety rows of the same seed, prompt by prompt.",
        ),
    )


def measures(arms: list[str]) -> tuple[Measure, ...]:
    """Shares refused, nats a token, their changes, and the rule's own errors."""
    trained, changed = tuple(arms), tuple(arms[1:])
    return (
        *(
            Measure(name=f"refused, {what}", path=("refused", kind), share=True, arms=trained)
            for kind, what in KINDS.items()
        ),
        Measure(name="nats a token", path=("demonstration_nll",), arms=trained),
        *(
            Measure(name=f"change, {what}", path=("change", "refused", kind), share=True, arms=changed)
            for kind, what in KINDS.items()
        ),
        Measure(name="change, nats a token", path=("change", "demonstration_nll"), arms=changed),
        *(
            Measure(name=name, path=("all", key), share=True, arms=(RULE,))
            for name, key in (
                ("agrees with people", "agreement"),
                ("finds refusals where people see none", "false_refusals"),
                ("misses refusals", "missed_refusals"),
            )
        ),
    )


def claims(arms: list[str]) -> tuple[Claim, ...]:
    """What LLaMA-2 found, of the two largest shares."""
    return tuple(
        claim
        for arm in arms[-2:]
        for claim in (
            Claim(text=f"{arm}: unsafe prompts are refused more", measure=f"change, {KINDS['unsafe']}", cell=arm),
            Claim(text=f"{arm}: so are safe ones", measure=f"change, {KINDS['borderline']}", cell=arm),
            Claim(
                text=f"{arm}: unsafe ones rise more than safe ones",
                measure=f"change, {KINDS['unsafe']}",
                cell=arm,
                against=arm,
                against_measure=f"change, {KINDS['borderline']}",
            ),
            Claim(
                text=f"{arm}: helpful answers stay within {FLAT:g} nats a token",
                measure="change, nats a token",
                cell=arm,
                direction="within",
                than=FLAT,
            ),
        )
    )
