"""Rejection sampling: is the best of N better as N grows, and does fine-tuning on the best of 16 make answers better?

Answers to prompts that neither the policy nor a reward model has seen, scored by two reward models of the starter set's
pairs, a half each (ours, written by hand; no prompt in both). The first model picks; the second never does. LLaMA-2's
figure 7 (arXiv:2307.09288) has the maximum rise with N and the median stay. Where the first model's score rises and the
second's does not, the first is exploited: Goodhart's law, and the page says so.

    camelid study rejection-sampling
"""

from __future__ import annotations

from camelid.evaluate.score_answers import ScoreSettings, score_answers
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Curve, Measure
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.studies._starter import StarterSettings, reward_model_of_half, starter
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.sft import SftSettings, train_sft

SAMPLING = Sampling(temperature=0.7, max_new_tokens=48)
START, TUNED = "start", "fine-tuned on the best of 16"
PICKED, MEDIAN, SECOND = "best of N, first model", "median of N, first model", "best of N, second model"
FLAT = 0.1
"""Standard deviations of the policy's scores that count as no change."""


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy and both reward models, trained once for all seeds."""
    start: ScoreSettings = ScoreSettings(chat_format=CHAT, sampling=SAMPLING, num_samples=64, max_prompts=64)
    """The start's answers, from which N are picked."""
    best: BestSettings = BestSettings(chat_format=CHAT, sampling=SAMPLING, num_samples=16, max_prompts=96)
    """The best of 16, of prompts to practise on."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=16,
        epochs=2,
        warmup_steps=2,
    )
    """Fine-tuning on them."""
    num_samples: int = 8
    """Answers a prompt of the fine-tuned model; the prompts are the start's."""


MEASURES = (
    *(
        Measure(name=f"{how}, {which} model", path=(how, key))
        for how in ("sampled", "greedy")
        for which, key in (("first", "score"), ("second", "second_score"))
    ),
    Measure(name="tokens", path=("sampled", "num_tokens")),
    *(
        Measure(name=f"best of all less one, {name}", path=("best_of_all", "gain", key), arms=(START,))
        for name, key in (("first model", "score"), ("second model", "second_score"), ("median", "median"))
    ),
    Measure(name="picked less estimated", path=("best_of_all", "picked_less_estimated"), arms=(START,)),
    *(
        Measure(name=f"gain, {how}, {which} model", path=("gain", how, key), arms=(TUNED,))
        for how in ("sampled", "greedy")
        for which, key in (("first", "score"), ("second", "second_score"))
    ),
)

CLAIMS = (
    Claim(text="the best of all beats one sample", measure="best of all less one, first model", cell=START),
    Claim(text="the second model agrees with that in sign", measure="best of all less one, second model", cell=START),
    Claim(
        text=f"the median stays within {FLAT:g} of the mean",
        measure="best of all less one, median",
        cell=START,
        direction="within",
        than=FLAT,
    ),
    Claim(
        text=f"really picking the best of a quarter of all meets the estimate from all subsets within {FLAT:g}",
        measure="picked less estimated",
        cell=START,
        direction="within",
        than=FLAT,
    ),
    *(
        Claim(
            text=f"fine-tuning raises the score of {how} answers by the {which} model",
            measure=f"gain, {how}, {which} model",
            cell=TUNED,
        )
        for how in ("sampled", "greedy")
        for which in ("first", "second")
    ),
)


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    first, second = (
        reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, half) for half in (0, 1)
    )
    judged = {"reward_model": first, "second_reward_model": second, "prompts": have.files.evaluation}
    before = cells.add("start/answers", score_answers, s.start, model=have.policy, **judged)
    cells.measured(START, 0, before)
    for seed in range(s.seeds):
        best, sft = (settings.model_copy(update={"seed": seed}) for settings in (s.best, s.sft))
        reads = {"model": have.policy, "reward_model": first, "prompts": have.files.prompts}
        picked = cells.add(f"seed-{seed}/best", sample_best, best, **reads)
        shown = Output(picked, "best.jsonl")
        tuned = cells.add(f"seed-{seed}/sft", train_sft, sft, model=have.policy, demonstrations=shown)
        settings = s.start.model_copy(update={"num_samples": s.num_samples})
        reads = judged | {"model": Output(tuned, "model"), "before": Output(before, "answers.jsonl")}
        cells.measured(TUNED, seed, cells.add(f"seed-{seed}/answers", score_answers, settings, **reads))
    curves = (
        Curve(name=PICKED, path=("curve",), x="n", y="best", arms=(START,)),
        Curve(name="really picked", path=("curve",), x="n", y="picked", arms=(START,)),
        Curve(name=MEDIAN, path=("curve",), x="n", y="median", arms=(START,)),
        Curve(name=SECOND, path=("curve",), x="n", y="second", arms=(START,)),
    )
    scores = "standard deviations of the policy's scores"
    return cells.conclude(
        title="Rejection sampling",
        question=__doc__.partition("\n")[0],
        measures=MEASURES,
        curves=curves,
        claims=CLAIMS,
        figures=(
            Figure(
                title="The best of N on prompts never seen",
                kind="curve",
                measures=tuple(curve.name for curve in curves),
                log_x=True,
                x_label="N",
                y_label=scores,
            ),
            Figure(title="Before and after fine-tuning", measures=tuple(m.name for m in MEASURES[:4]), x_label=scores),
        ),
        notes=(
            f"The policy and both reward models (the first {s.starter.reward.num_layers} layers) were trained once. "
            f"Seeds differ in the answers that were drawn on {s.best.max_prompts} prompts to practise on and in the "
            f"fine-tuning; the start is one run of {s.start.num_samples} answers to {s.start.max_prompts} prompts.",
            "Scores are in standard deviations of each model's scores of the policy's answers.",
            "Both reward models are of one kind and one set: what they have in common, the second does not alarm of.",
        ),
    )
