"""Orca: does a student answer more questions rightly for having learnt the reasons, and is a second stage of use?

Orca's question (Mukherjee et al. 2023, arXiv:2306.02707) put to rationales that people wrote: the same questions of
four sets with three targets (`camelid rationales`), answer, reasons and answer, and the same under a system message
that asks for an explanation. Asked are questions never seen, without a system message, as Orca was. Progressive
training: one stage on reasons and then one on explained reasons, against both kinds of row at once, in the same number
of steps.

    camelid study orca
"""

from __future__ import annotations

from pathlib import Path

from camelid.collect.explanations.rationales import TARGETS, RationaleSettings, rationale_targets
from camelid.evaluate.exact_answers import ExactSettings, exact_answers
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Input, Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.train.sft import SftSettings, train_sft

SETS = ("strategyqa", "qasc", "ecqa", "gsm8k")
START, AT_ONCE, IN_TURN = "start", "both at once", "one after the other"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    questions: tuple[Path, ...] = tuple(Path(f"explanations/{name}_train.tsv") for name in SETS)
    """Questions with answers and reasons, in `folder`."""
    targets: RationaleSettings = RationaleSettings(licence="Apache-2.0", max_rows=200, held_out=50)
    """How many of each file train, and how many are asked."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=10, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=16,
        epochs=1,
        warmup_steps=3,
    )
    """Imitation; Orca took four epochs a stage."""
    ask: ExactSettings = ExactSettings(chat_format=CHAT, sampling=Sampling(temperature=0.0, max_new_tokens=120))
    """How questions are answered."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    files = [s.folder / file for file in s.questions]
    rows = cells.add("data/targets", rationale_targets, s.targets, data=files)
    held_out = Output(rows, "held_out.jsonl")
    shown = {target: Output(rows, f"{target}.jsonl") for target in TARGETS}
    first = cells.add("start", exact_answers, s.ask, model=start, prompts=held_out)
    cells.measured(START, 0, first)
    for seed in range(s.seeds):

        def trained(name: str, model: Input, *data: Input, seed: int = seed) -> Output:
            settings = s.sft.model_copy(update={"seed": seed})
            made = cells.add(f"seed-{seed}/{name}", train_sft, settings, model=model, demonstrations=list(data))
            return Output(made, "model")

        models: dict[str, Output] = {target: trained(target, start, shown[target]) for target in TARGETS}
        reasons, explained = shown["rationale"], shown["explained"]
        models[AT_ONCE] = trained("at-once", start, reasons, explained)
        models[IN_TURN] = trained("in-turn", models["rationale"], explained)
        before = {
            "answer": first,
            "rationale": "answer",
            "explained": "rationale",
            AT_ONCE: "explained",
            IN_TURN: AT_ONCE,
        }
        asked: dict[str, str] = {}
        for arm, model in models.items():
            reads = {"model": model, "prompts": held_out, "before": Output(asked.get(before[arm], first), "")}
            name = f"seed-{seed}/ask-{arm.replace(' ', '-')}"
            asked[arm] = cells.add(name, exact_answers, s.ask, **reads)
            cells.measured(arm, seed, asked[arm])
    right = Measure(name="right", path=("right",), share=True)
    more = Measure(name="more", path=("change", "right"), share=True, arms=(*TARGETS, AT_ONCE, IN_TURN))
    by_set = tuple(
        Measure(name=f"{file.stem.removesuffix('_train')}", path=("right_by_source", file.name), share=True)
        for file in s.questions
    )
    tokens = Measure(name="tokens", path=("tokens",))
    return cells.conclude(
        title="Orca: answers, reasons, explained reasons",
        question=__doc__.partition("\n")[0],
        measures=(right, more, *by_set, tokens),
        claims=(
            Claim(text="answers are learnt", measure=more.name, cell="answer"),
            Claim(text="reasons help beside answers alone", measure=more.name, cell="rationale"),
            Claim(text="system messages help beside reasons", measure=more.name, cell="explained"),
            Claim(text="one stage after the other helps beside both at once", measure=more.name, cell=IN_TURN),
        ),
        figures=(Figure(title="Right answers", measures=(right.name,), x_label="%"),),
        notes=(
            f"{s.targets.held_out} questions of each set are asked, the same of all. The answer is what follows the "
            "last 'answer is', or all that is said.",
            "'More' is question by question: of answers to the start, of reasons to answers, of explained reasons to "
            "reasons, of both at once to explained reasons, of one after the other to both at once.",
            "Strategyqa is answered by yes or no: half is right by chance.",
        ),
    )
