"""PPO: does the score rise, does the KL's weight hold it back, and does text of pretraining keep what the model knew?

From one policy, against a reward model of half of the starter set's pairs: three weights of the KL; a reward that is
always 0, which must move nothing; text of pretraining in every mini-batch (InstructGPT's PPO-ptx, arXiv:2203.02155),
whose own likelihood is measured on documents that none has seen; and, in place of the reward model, a reward that a
program checks, whether the answer has a digit in it, which must be solved.

    camelid study ppo
"""

from __future__ import annotations

from typing import Any

from camelid.collect.split_documents import SplitDocumentsSettings, split_documents
from camelid.evaluate.long_context import PositionSettings, measure_positions
from camelid.evaluate.score_answers import ScoreSettings, score_answers
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.studies._starter import StarterSettings, reward_model_of_half, starter
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.pretraining_mix import MixSettings
from camelid.train.scoring import ScoreSettings as Scoring

START, ZERO, PTX, DIGIT = "start", "reward 0", "with text (ptx)", "a digit"
COEFS = (0.0, 0.05, 0.5)
NEVER = r"(?!)"
"""A regular expression that nothing matches."""
WINDOW = 256


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy and both reward models, trained once for all arms and seeds."""
    ppo: PpoSettings = PpoSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        num_iterations=6,
        batch_size=48,
        mini_batch_size=16,
        sampling=Sampling(max_new_tokens=40),
        scoring=Scoring(unfinished_score=None),
        ptx=MixSettings(coef=1.0, ratio=0.5, max_tokens=WINDOW),
    )
    """PPO; its kl_coef, sources and text are the arms'."""
    documents: SplitDocumentsSettings = SplitDocumentsSettings()
    """Web documents: those kept from training are measured."""
    nll: PositionSettings = PositionSettings(window_tokens=WINDOW, max_windows=30)
    """Their likelihood."""
    score: ScoreSettings = ScoreSettings(
        chat_format=CHAT, sampling=Sampling(max_new_tokens=40), num_samples=2, max_prompts=80
    )
    """Answers to prompts never seen."""


def arm_of(coef: float) -> str:
    return f"kl_coef {coef:g}"


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    first, second = (
        reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, half) for half in (0, 1)
    )
    documents = cells.add(
        "data/documents", split_documents, s.documents, documents=[s.folder / "pretraining/c4_demo.jsonl"]
    )
    asked = {"reward_model": first, "second_reward_model": second, "prompts": have.files.evaluation}
    before = cells.add("start/answers", score_answers, s.score, model=have.policy, **asked)

    def measured(arm: str, seed: int, place: str, model: Output, trained: str = "") -> None:
        held_out = Output(documents, "held-out.jsonl")
        nll = cells.add(f"{place}/nll", measure_positions, s.nll, model=model, documents=held_out)
        if not trained:
            cells.measured_by(arm, seed, answers=before, nll=nll)
            return
        reads = asked | {"model": model, "start_model": have.policy, "before": Output(before, "answers.jsonl")}
        answers = cells.add(f"{place}/answers", score_answers, s.score, **reads)
        cells.measured_by(arm, seed, answers=answers, nll=nll)

    measured(START, 0, "start", have.policy)
    common = s.ppo.model_copy(update={"kl_coef": COEFS[1]})
    checked = {
        name: common.scoring.model_copy(update={"sources": {"pattern": 1.0}, "pattern": pattern})
        for name, pattern in ((ZERO, NEVER), (DIGIT, r"\d"))
    }
    scored = {"model": have.policy, "prompts": have.files.prompts, "reward_model": first}
    alone = {name: value for name, value in scored.items() if name != "reward_model"}
    text = {"pretraining": Output(documents, "train.jsonl")}
    arms: dict[str, tuple[PpoSettings, dict[str, Any]]] = {
        **{arm_of(coef): (s.ppo.model_copy(update={"kl_coef": coef}), scored) for coef in COEFS},
        PTX: (common, scored | text),
        ZERO: (common.model_copy(update={"scoring": checked[ZERO]}), alone),
    }
    for seed in range(s.seeds):
        for number, (arm, (settings, reads)) in enumerate(arms.items()):
            place = f"seed-{seed}/arm-{number}"
            made = cells.add(f"{place}/ppo", train_ppo, settings.model_copy(update={"seed": seed}), **reads)
            measured(arm, seed, place, Output(made, "model"), made)
        settings = common.model_copy(update={"scoring": checked[DIGIT], "seed": seed})
        solved = cells.add(f"seed-{seed}/digit/ppo", train_ppo, settings, **alone)
        cells.measured(DIGIT, seed, solved, "manifest.json")
    return _concluded(cells, s, [*arms])


def _concluded(cells: Cells, s: Study, arms: list[str]) -> list[Stage]:
    trained = tuple(arms)
    gain, second, kl, nll, digits = "gain in score", "gain by the second model", "KL", "nats a token of text", "digits"
    weak, middle, strong = map(arm_of, COEFS)
    part = f"0-{s.nll.window_tokens}"
    return cells.conclude(
        title="PPO",
        question=__doc__.partition("\n")[0],
        measures=(
            Measure(name=gain, path=("answers", "gain", "sampled", "score"), arms=trained),
            Measure(name=second, path=("answers", "gain", "sampled", "second_score"), arms=trained),
            Measure(name=kl, path=("answers", "kl_from_start"), arms=trained),
            Measure(name="tokens", path=("answers", "sampled", "num_tokens"), arms=(START, *trained)),
            Measure(name=nll, path=("nll", "nll", part), arms=(START, *trained)),
            Measure(name=digits, path=("metrics", "score"), share=True, arms=(DIGIT,)),
        ),
        claims=(
            Claim(text="the score rises on prompts never seen", measure=gain, cell=middle),
            Claim(text="by the second reward model too", measure=second, cell=middle),
            Claim(
                text="a larger weight of the KL keeps it smaller",
                measure=kl,
                cell=strong,
                against=weak,
                direction="below",
            ),
            Claim(text="the middle weight too", measure=kl, cell=middle, against=weak, direction="below"),
            Claim(
                text="a reward of 0 keeps the KL below half a nat",
                measure=kl,
                cell=ZERO,
                against=0.5,
                direction="below",
            ),
            Claim(
                text="text in every mini-batch keeps its likelihood",
                measure=nll,
                cell=PTX,
                against=middle,
                direction="below",
            ),
            Claim(text="a reward that a program checks is solved: 9 in 10", measure=digits, cell=DIGIT, against=0.9),
        ),
        figures=(
            Figure(title="Gain in score over KL", kind="plane", measures=(kl, gain), x_label="nats a completion"),
            Figure(title="Likelihood of documents never seen", measures=(nll,), x_label="nats a token"),
        ),
        notes=(
            "Scores are in standard deviations of each reward model's scores of the start's answers.",
            f"The arms {PTX!r} and {ZERO!r} have kl_coef {COEFS[1]:g}; text weighs {s.ppo.ptx.coef:g} and not "
            "InstructGPT's 27.8, with which adapters at this learning rate would learn of text alone.",
            "The digit's share is that of the last iteration's own completions, on prompts to practise on.",
        ),
    )
