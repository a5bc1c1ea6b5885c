"""Ghost Attention: is a word that was asked for at the start still kept at turns 2, 4, 6 and 10, with it and without?

LLaMA-2 reports full recall with Ghost Attention and none after some turns without (arXiv:2307.09288, section 3.3).
SmolLM2 does not keep such a demand even when told in every turn, so it is taught that first, for all arms alike, by
rows made of Alpaca's answers (`collect/demands.py`). Then the taught model holds dialogues in which it is told in
every turn, and two arms learn from the very same answers: with the demand said once (Ghost Attention), and with the
demand in every turn, as it was. Recall is measured with words and questions that training never had. Beside it stands
chance: how often the answers have another dialogue's word.

    camelid study ghost-attention
"""

from __future__ import annotations

from camelid.collect.demands import DemandSettings, demand_rows
from camelid.collect.ghost_attention import GhostSettings, ghost_attention
from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.attribute_recall import RecallSettings, attribute_recall
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Curve, Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Input, Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.train.sft import SftSettings, train_sft

START, ALWAYS = "start, told in every turn", "taught, told in every turn"
TAUGHT, WITH, WITHOUT = "taught", "with Ghost Attention", "without it, same answers"
RECALL = "recall by turn"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    rows: ImportSettings = ImportSettings(max_rows=900, max_words=36)
    """Which of Alpaca's rows questions and answers are taken from: short ones, for ten turns must fit."""
    hold_out: HoldOutSettings = HoldOutSettings(held_out=240)
    """Those whose questions recall is measured with."""
    demands: DemandSettings = DemandSettings(num_dialogues=320)
    """What teaches to keep to a demand when told."""
    teach: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=8, micro_batch_tokens=TOKENS),
        learning_rate=1e-3,
        batch_size=16,
        epochs=1,
        warmup_steps=3,
    )
    """How."""
    ghost: GhostSettings = GhostSettings(
        chat_format=CHAT,
        sampling=Sampling(temperature=0.7, max_new_tokens=40),
        num_dialogues=96,
        max_turns=4,
        kinds=("ending", "mention"),
        most_constraints=1,
        num_samples=2,
        keep="checked",
    )
    """Dialogues held by the taught model."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=8, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=4,
        epochs=1,
        warmup_steps=2,
    )
    """Fine-tuning of both arms on them."""
    recall: RecallSettings = RecallSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=40), num_dialogues=24
    )
    """Recall by turn."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    alpaca = s.folder / "conversations/alpaca_random_9k.json"
    rows = Output(cells.add("data/rows", import_data, s.rows, data=[alpaca]), "rows.jsonl")
    split = cells.add("data/split", hold_out, s.hold_out, conversations=rows)
    train, asked = Output(split, "train.jsonl"), Output(split, "prompts.jsonl")

    def recalled(arm: str, seed: int, place: str, model: Input, said: str = "first_turn") -> None:
        settings = s.recall.model_copy(update={"seed": seed, "said": said})
        cells.measured(arm, seed, cells.add(place, attribute_recall, settings, model=model, prompts=asked))

    shown = Output(cells.add("demands", demand_rows, s.demands, conversations=train), "rows.jsonl")
    taught = Output(cells.add("taught", train_sft, s.teach, model=start, demonstrations=shown), "model")
    recalled(START, 0, "start/told", start, "every_turn")
    recalled(ALWAYS, 0, "taught-recall/told", taught, "every_turn")
    recalled(TAUGHT, 0, "taught-recall/once", taught)
    for seed in range(s.seeds):
        held = s.ghost.model_copy(update={"seed": seed})
        dialogues = cells.add(f"seed-{seed}/dialogues", ghost_attention, held, model=taught, conversations=train)
        for arm, place, file in ((WITH, "with", "demonstrations.jsonl"), (WITHOUT, "without", "told.jsonl")):
            sft, shown = s.sft.model_copy(update={"seed": seed}), Output(dialogues, file)
            made = cells.add(f"seed-{seed}/{place}/sft", train_sft, sft, model=taught, demonstrations=shown)
            recalled(arm, seed, f"seed-{seed}/{place}/recall", Output(made, "model"))
    turns = sorted(s.recall.turns)
    return cells.conclude(
        title="Ghost Attention",
        question=__doc__.partition("\n")[0],
        measures=(
            *(Measure(name=f"turn {turn}", path=("recall", f"turn_{turn}"), share=True) for turn in turns),
            *(Measure(name=f"chance, turn {turn}", path=("floor", f"turn_{turn}"), share=True) for turn in turns[-1:]),
            *(Measure(name=f"whole, turn {turn}", path=("whole", f"turn_{turn}"), share=True) for turn in turns[-1:]),
        ),
        curves=(Curve(name=RECALL, path=("recall_curve",), x="turn", y="recall"),),
        claims=(
            Claim(
                text="told in every turn, the taught model keeps the demand more often than the start",
                measure=f"turn {turns[0]}",
                cell=ALWAYS,
                against=START,
            ),
            *(
                Claim(
                    text=f"turn {turn}: recall is higher with than without",
                    measure=f"turn {turn}",
                    cell=WITH,
                    against=WITHOUT,
                )
                for turn in turns
            ),
            Claim(
                text=f"with it, recall at turn {turns[-1]} is above chance",
                measure=f"turn {turns[-1]}",
                cell=WITH,
                against=WITH,
                against_measure=f"chance, turn {turns[-1]}",
            ),
        ),
        figures=(
            Figure(
                title="Recall of what was said in the first turn",
                kind="curve",
                measures=(RECALL,),
                x_label="user turn",
                y_label="share kept",
            ),
        ),
        notes=(
            f"{s.recall.num_dialogues} dialogues a seed and arm, the same questions for all; kept is told by a rule. "
            f"The teaching was one run; seeds differ in the dialogues that were held, in training and in the measured "
            "dialogues. The arms told in every turn are one run each.",
            "Both trained arms have the same answers in as many rows and steps; only the last answer of a row trains.",
        ),
    )
