"""InstructGPT: is the checkpoint with the highest reward another one than that with the lowest validation loss?

InstructGPT overfitted its validation loss after one epoch of supervised fine-tuning and went on for 16, since the
reward went on rising (arXiv:2203.02155, section 3.5). Here: Alpaca's short rows for half an epoch to eight, an
adapter's rate for each seed's runs, validation rows that none has seen, and a reward model of the starter set's pairs.
The other two of the paper's measurements stand elsewhere: PPO with text of pretraining in `camelid study ppo`, and that
all pairs of a ranking in one batch element give the sum of their losses in tests/functional.

    camelid study instructgpt
"""

from __future__ import annotations

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.evaluate.checkpoint_choice import ChoiceSettings, choose_checkpoint
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.studies._starter import StarterSettings, read_rows, reward_model_of_half, starter
from camelid.train.sft import SftSettings, train_sft

ARM = "checkpoints"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The rows, and what the reward model is brought to scale on."""
    validation: HoldOutSettings = HoldOutSettings(held_out=96)
    """Rows kept for the validation loss."""
    epochs: tuple[float, ...] = Field(default=(0.5, 1, 2, 4, 8), min_length=2)
    """The checkpoints."""
    rows: int = 192
    """Rows of Alpaca, those of validation among them."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=1e-3,
        batch_size=16,
        warmup_steps=2,
    )
    """Fine-tuning; its epochs are the checkpoints'."""
    choose: ChoiceSettings = ChoiceSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=40), max_prompts=120
    )
    """Answers to prompts never seen, and the validation loss."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    reward = reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, 0)
    few = s.starter.demonstrations.model_copy(update={"max_rows": s.rows, "seed": 1})
    rows = read_rows(cells, "few", few, s.folder / "conversations/alpaca_random_9k.json")
    split = cells.add("data/validation", hold_out, s.validation, conversations=rows)
    train, validation = Output(split, "train.jsonl"), Output(split, "reference.jsonl")
    names = tuple(f"{epochs:g} epochs" for epochs in s.epochs)
    for seed in range(s.seeds):
        models = []
        for epochs in s.epochs:
            settings = s.sft.model_copy(update={"epochs": epochs, "seed": seed})
            made = cells.add(f"seed-{seed}/epochs-{epochs:g}", train_sft, settings, model=start, demonstrations=train)
            models.append(Output(made, "model"))
        choice = s.choose.model_copy(update={"names": names, "seed": seed})
        reads = {"reward_model": reward, "prompts": have.files.evaluation, "demonstrations": validation}
        cells.measured(ARM, seed, cells.add(f"seed-{seed}/choose", choose_checkpoint, choice, models=models, **reads))
    score, nll = (
        [Measure(name=f"{what}, {name}", path=("candidates", name, key)) for name in names]
        for what, key in (("score", "score"), ("validation loss", "nll"))
    )
    gained = Measure(name="score gained by choosing by reward", path=("score_gained",))
    return cells.conclude(
        title="InstructGPT: the checkpoint",
        question=__doc__.partition("\n")[0],
        measures=(gained, *score, *nll),
        claims=(
            Claim(text="choosing by reward gains score over choosing by loss", measure=gained.name, cell=ARM),
            Claim(
                text=f"validation loss is higher after {names[-1]} than after {names[1]}",
                measure=nll[-1].name,
                cell=ARM,
                against=ARM,
                against_measure=nll[1].name,
            ),
            Claim(
                text=f"the score is higher after {names[-1]} than after {names[1]}",
                measure=score[-1].name,
                cell=ARM,
                against=ARM,
                against_measure=score[1].name,
            ),
        ),
        figures=(
            Figure(title="Score by epochs", measures=tuple(m.name for m in score), x_label="standard deviations"),
            Figure(title="Validation loss by epochs", measures=tuple(m.name for m in nll), x_label="nats a token"),
        ),
        notes=(
            "Each checkpoint is a run of its own, with its own cosine: the paper's are of one run.",
            "The checkpoint is chosen on the very prompts that the gain is measured on: it is a little too high. Where "
            "both choices are the same checkpoint the gain is 0.",
        ),
    )
