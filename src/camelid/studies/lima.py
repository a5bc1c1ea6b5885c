"""LIMA: is a model of few chosen rows liked better than one of as many random or filtered ones, or of eight times more?

LIMA's rows (Zhou et al. 2023, arXiv:2305.11206), the shorter ones, against Alpaca's: as many at random, as many that
ChatGPT graded 4.5 or better (AlpaGasus, Chen et al. 2023, arXiv:2307.08701), and eight times as many at random, all in
the same number of steps; answers to LIMA's test prompts scored by a reward model of AlpacaEval's judgements, which
likes length, hence at equal length too. And the paper's appendix B: over 15 epochs the likelihood of held-out answers
falls while quality rises.

    camelid study lima
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from camelid.collect.hold_out import HoldOutSettings, hold_out
from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.collect.stage import ImportSettings, import_data
from camelid.evaluate.checkpoint_choice import ChoiceSettings, choose_checkpoint
from camelid.evaluate.score_answers import ScoreSettings, score_answers
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.recipes import quickstart
from camelid.recipes._false_promise import JUDGES
from camelid.runs import Input, Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft

LIMA, RANDOM, FILTERED, MANY = "LIMA", "Alpaca", "Alpaca, graded", "Alpaca, 8 times"
EPOCHS = "LIMA, epochs"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    lima: Path = Path("conversations/lima.json")
    """LIMA's rows, in `folder`."""
    alpaca: Path = Path("conversations/alpaca_random_9k.json")
    """Alpaca's, drawn at random."""
    graded: Path = Path("conversations/alpaca_claude_t45.json")
    """Alpaca's that were graded 4.5 or better."""
    prompts: Path = Path("prompts/lima_test_300.jsonl")
    """What is asked."""
    judgements: JudgementSettings = JudgementSettings(max_rows=450, max_words=250)
    """What the judge learns from."""
    rows: ImportSettings = ImportSettings(max_rows=160, max_words=250)
    """Rows of the small arms; prompts that are asked are in none."""
    judge: RewardSettings = quickstart.REWARD.model_copy(
        update={"held_out": 0, "margins": "none", "model": ModelSettings(micro_batch_tokens=TOKENS)}
    )
    """The reward model that judges."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=8,
        epochs=2,
        warmup_steps=0,
        residual_dropout=0.2,
    )
    """Fine-tuning of the small arms; the large one takes an eighth of the epochs."""
    score: ScoreSettings = ScoreSettings(
        chat_format=CHAT,
        sampling=Sampling(temperature=0.7, top_p=0.9, max_new_tokens=96),
        num_samples=2,
        max_prompts=100,
    )
    """Answers."""
    epochs: tuple[float, ...] = Field(default=(1, 2, 4, 8, 15), min_length=2)
    """Checkpoints of LIMA's training."""
    few: ImportSettings = ImportSettings(max_rows=80, max_words=150)
    """LIMA's rows for these, the held-out ones among them."""
    validation: HoldOutSettings = HoldOutSettings(held_out=30)
    """Rows for the likelihood."""
    choose: ChoiceSettings = ChoiceSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, top_p=0.9, max_new_tokens=64), max_prompts=60
    )
    """Quality and likelihood of each checkpoint."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()

    def read(name: str, settings: ImportSettings, file: Path) -> Output:
        reads: dict[str, Input] = {"data": s.folder / file}
        if file != s.prompts:
            reads["exclude"] = s.folder / s.prompts
        return Output(cells.add(f"data/{name}", import_data, settings, **reads), "rows.jsonl")

    asked = read("prompts", ImportSettings(kind="prompts"), s.prompts)
    more = s.rows.model_copy(update={"max_rows": 8 * s.rows.max_rows})
    arms = {
        RANDOM: (read("alpaca", s.rows, s.alpaca), 1),
        LIMA: (read("lima", s.rows, s.lima), 1),
        FILTERED: (read("graded", s.rows, s.graded), 1),
        MANY: (read("alpaca-many", more, s.alpaca), 8),
    }
    files = [s.folder / f"preferences/alpaca_eval_gpt4/{name}.json" for name in JUDGES]
    judged = cells.add("data/judgements", import_judgements, s.judgements, judgements=files)
    verdicts = Output(judged, "train.jsonl")
    judge = Output(cells.add("judge", train_reward, s.judge, model=start, preferences=verdicts), "model")
    few = cells.add("data/validation", hold_out, s.validation, conversations=read("few", s.few, s.lima))
    for seed in range(s.seeds):
        before: dict[str, Output] = {}
        for arm, (rows, times) in arms.items():
            sft = s.sft.model_copy(update={"seed": seed, "epochs": s.sft.epochs / times})
            name = f"seed-{seed}/{arm.replace(', ', '-').replace(' ', '-').lower()}"
            made = cells.add(name, train_sft, sft, model=start, demonstrations=rows)
            answers: dict[str, Input] = {"model": Output(made, "model"), "reward_model": judge, "prompts": asked}
            settings = s.score.model_copy(update={"seed": seed})
            scored = cells.add(f"{name}-answers", score_answers, settings, **answers, **before)
            before = before or {"before": Output(scored, "answers.jsonl")}
            cells.measured(arm, seed, scored)
        models = []
        for epochs in s.epochs:
            sft = s.sft.model_copy(update={"seed": seed, "epochs": epochs})
            train = Output(few, "train.jsonl")
            made = cells.add(f"seed-{seed}/epochs-{epochs:g}", train_sft, sft, model=start, demonstrations=train)
            models.append(Output(made, "model"))
        choose = s.choose.model_copy(update={"names": tuple(f"{e:g} epochs" for e in s.epochs), "seed": seed})
        kept = {"reward_model": judge, "prompts": asked, "demonstrations": Output(few, "reference.jsonl")}
        cells.measured(EPOCHS, seed, cells.add(f"seed-{seed}/choose", choose_checkpoint, choose, models=models, **kept))
    drawn, others = ("sampled",), (LIMA, FILTERED, MANY)
    score = Measure(name="score", path=(*drawn, "score"), arms=tuple(arms))
    tokens = Measure(name="tokens", path=(*drawn, "num_tokens"), arms=tuple(arms))
    gain = Measure(name="over Alpaca", path=("gain", *drawn, "score"), arms=others)
    level = Measure(name="over Alpaca, equal length", path=("gain", *drawn, "score_at_equal_length"), arms=others)
    names = [f"{epochs:g} epochs" for epochs in s.epochs]
    quality, nats = (
        [Measure(name=f"{what}, {n}", path=("candidates", n, key), arms=(EPOCHS,)) for n in names]
        for what, key in (("score", "score"), ("nats", "nll"))
    )
    return cells.conclude(
        title="LIMA: few chosen rows",
        question=__doc__.partition("\n")[0],
        measures=(score, gain, level, tokens, *quality, *nats),
        claims=(
            *(
                Claim(text=f"{arm} is liked better than as many random rows", measure=gain.name, cell=arm)
                for arm in others
            ),
            Claim(text="LIMA at equal length, too", measure=level.name, cell=LIMA),
            Claim(text="8 times the rows change little", measure=gain.name, cell=MANY, direction="within", than=0.2),
            Claim(
                text=f"held-out nats rise from {names[1]} to {names[-1]}",
                measure=nats[-1].name,
                cell=EPOCHS,
                against=EPOCHS,
                against_measure=nats[1].name,
            ),
            Claim(
                text=f"quality rises from {names[1]} to {names[-1]}",
                measure=quality[-1].name,
                cell=EPOCHS,
                against=EPOCHS,
                against_measure=quality[1].name,
            ),
        ),
        figures=(
            Figure(title="Over as many random rows of Alpaca", measures=(gain.name, level.name), x_label="logits"),
            Figure(title="Quality by epochs", measures=tuple(m.name for m in quality), x_label="logits"),
            Figure(title="Likelihood by epochs", measures=tuple(m.name for m in nats), x_label="nats a token"),
        ),
        notes=(
            f"Rows of at most {s.rows.max_words} words: LIMA's own mean is 434. Answers end at "
            f"{s.score.sampling.max_new_tokens} tokens.",
            "The judge is a small reward model of GPT-4's judgements; scores are its logits. Each checkpoint is a run "
            "of its own, with its own cosine.",
        ),
    )
