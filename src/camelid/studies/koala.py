"""Koala: asked under the good marker, does a model that learnt both answers of pairs score above the bad marker?

Conditional training on preferences (Geng et al. 2023, after Liu et al. 2023, arXiv:2302.02676) on HH's harmlessness
pairs, which people judged, and AlpacaEval's, which GPT-4 judged. Half of the pairs train the policy, the other half the
reward model that measures, which reads the prompts without their markers; prompts that are asked are in neither. In the
control a coin decides which answer of a pair gets which marker.

    camelid study koala
"""

from __future__ import annotations

from pathlib import Path

from camelid.collect.hindsight import PRESETS, HindsightSettings, hindsight
from camelid.collect.judgements import JudgementSettings, import_judgements
from camelid.collect.stage import ImportSettings, import_data
from camelid.curate.folds import FoldSettings, split_fold
from camelid.curate.mix import MixSettings, mix
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
from camelid.studies._cells import TOKENS, Cells, StudySettings
from camelid.train.reward import RewardSettings, train_reward
from camelid.train.sft import SftSettings, train_sft

TRUE, SHUFFLED = "markers", "markers shuffled"
FORMAT = "koala"
WORDS = 160
"""Longer pairs are left out, prompt and answers together."""


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    judged: tuple[Path, ...] = tuple(Path(f"preferences/alpaca_eval_gpt4/{name}.json") for name in JUDGES)
    """AlpacaEval's judgements, in `folder`."""
    people: Path = Path("preferences/hh_harmless_1800.jsonl.gz")
    """HH's pairs, in `folder`."""
    judgements: JudgementSettings = JudgementSettings(max_rows=900, max_words=WORDS)
    """Which of AlpacaEval's pairs are used."""
    pairs: ImportSettings = ImportSettings(kind="preferences", about="safety", max_rows=600, max_words=WORDS)
    """Which of HH's."""
    asked: FoldSettings = FoldSettings(folds=6)
    """A part of the prompts is kept to be asked."""
    hindsight: HindsightSettings = PRESETS["koala"]
    """The markers."""
    reward: RewardSettings = quickstart.REWARD.model_copy(
        update={
            "chat_format": FORMAT,
            "held_out": 100,
            "margins": "none",
            "epochs": 2,
            "model": ModelSettings(micro_batch_tokens=TOKENS),
        }
    )
    """The reward model that measures."""
    sft: SftSettings = SftSettings(
        chat_format=FORMAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=1e-3,
        batch_size=16,
        epochs=2,
        warmup_steps=3,
    )
    """Imitation of both answers, in Koala's two epochs."""
    score: ScoreSettings = ScoreSettings(
        chat_format=FORMAT, sampling=Sampling(temperature=0.7, max_new_tokens=48), num_samples=2, max_prompts=120
    )
    """Answers to the prompts kept, under either marker."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    files = [s.folder / file for file in s.judged]
    models = cells.add("data/judgements", import_judgements, s.judgements, judgements=files)
    people = cells.add("data/people", import_data, s.pairs, data=s.folder / s.people)
    sources: dict[str, Input] = {"models": Output(models, "train.jsonl"), "people": Output(people, "rows.jsonl")}
    mixed = cells.add(
        "data/mixed", mix, MixSettings(kind="preferences", weights=dict.fromkeys(sources, 1.0)), **sources
    )
    kept = cells.add("data/kept", split_fold, s.asked, preferences=Output(mixed, "mixed.jsonl"))
    split = cells.add("data/halves", split_fold, FoldSettings(folds=2), preferences=Output(kept, "train.jsonl"))
    prompts = cells.add("data/prompts", import_data, ImportSettings(kind="prompts"), data=Output(kept, "test.jsonl"))
    asked = Output(prompts, "rows.jsonl")
    judged = Output(split, "test.jsonl")
    reward = Output(cells.add("reward", train_reward, s.reward, model=start, preferences=judged), "model")
    for seed in range(s.seeds):
        for arm, shuffled in ((TRUE, False), (SHUFFLED, True)):
            cell = f"seed-{seed}/{'shuffled' if shuffled else 'markers'}"
            settings = s.hindsight.model_copy(update={"shuffle_markers": shuffled, "seed": seed})
            rows = cells.add(
                f"{cell}/rows", hindsight, settings, preferences=Output(split, "train.jsonl"), prompts=asked
            )
            sft = s.sft.model_copy(update={"seed": seed})
            shown = Output(rows, "demonstrations.jsonl")
            policy = Output(cells.add(f"{cell}/sft", train_sft, sft, model=start, demonstrations=shown), "model")
            score = s.score.model_copy(update={"seed": seed})
            both: dict[str, Input] = {"model": policy, "reward_model": reward, "judged": asked}
            bad = Output(rows, "bad_prompts.jsonl")
            bad_scores = cells.add(f"{cell}/bad", score_answers, score, prompts=bad, **both)
            good, before = Output(rows, "good_prompts.jsonl"), Output(bad_scores, "answers.jsonl")
            good_scores = cells.add(f"{cell}/good", score_answers, score, prompts=good, before=before, **both)
            cells.measured_by(arm, seed, good=good_scores, bad=bad_scores)
    drawn = ("sampled", "score")
    gain = Measure(name="good less bad marker", path=("good", "gain", *drawn))
    level = Measure(name="the same at equal length", path=("good", "gain", "sampled", "score_at_equal_length"))
    likeliest = Measure(name="likeliest answers", path=("good", "gain", "greedy", "score"))
    sides = [Measure(name=f"score, {side} marker", path=(side, *drawn)) for side in ("good", "bad")]
    longer = Measure(name="tokens more", path=("good", "gain", "sampled", "num_tokens"))
    return cells.conclude(
        title="Koala: conditional training on preferences",
        question=__doc__.partition("\n")[0],
        measures=(gain, level, likeliest, longer, *sides),
        claims=(
            Claim(text="the good marker's answers score higher", measure=gain.name, cell=TRUE),
            Claim(text="at equal length, too", measure=level.name, cell=TRUE),
            Claim(text="so do the likeliest answers", measure=likeliest.name, cell=TRUE),
            Claim(text="more than with shuffled markers", measure=gain.name, cell=TRUE, against=SHUFFLED),
            Claim(
                text="shuffled markers change little", measure=gain.name, cell=SHUFFLED, direction="within", than=0.3
            ),
        ),
        figures=(Figure(title="Good less bad marker", measures=(gain.name, level.name), x_label="logits"),),
        notes=(
            "Scores are logits of one reward model, trained on pairs that the policies never saw; it reads no marker.",
            "AlpacaEval's pairs were judged by GPT-4, which likes the longer answer: the gain at equal length is the "
            "intercept of the line of gains on differences in length.",
        ),
    )
