"""Rounds: does a model that is fine-tuned on the last round's samples alone forget what earlier rounds had taught?

Three rounds of rejection sampling from one policy, each fine-tuning it anew: the first round's prompts are unsafe or
sound so, the others' are ordinary. One arm fine-tunes on the best answers of its last round, the other on those of all
rounds, as LLaMA-2 did after its third version had forgotten how to rhyme (arXiv:2307.09288, section 3.2.3). The probe
is the score of answers to unsafe prompts that none has seen.

    camelid study rounds
"""

from __future__ import annotations

from camelid.curate.mix import MixSettings, mix
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
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.sft import SftSettings, train_sft

FIRST, LAST, POOL = "V1", "V3, last round alone", "V3, all rounds"
PROBES = {"unsafe": "unsafe prompts", "helpful": "ordinary prompts"}
FLAT = 0.15
"""Standard deviations that count as no difference on ordinary prompts."""


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy and the reward models, trained once for all arms and seeds."""
    best: BestSettings = BestSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=40), num_samples=8, max_prompts=48
    )
    """Rejection sampling of a round."""
    sft: SftSettings = SftSettings(
        chat_format=CHAT,
        model=ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS),
        learning_rate=5e-4,
        batch_size=16,
        epochs=2,
        warmup_steps=2,
    )
    """Fine-tuning on it."""
    score: ScoreSettings = ScoreSettings(
        chat_format=CHAT, sampling=Sampling(temperature=0.7, max_new_tokens=40), num_samples=2, max_prompts=64
    )
    """Answers to prompts never seen."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    first, second = (
        reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, half) for half in (0, 1)
    )
    prompts = {}
    for kind in ("safety", "helpfulness"):
        of_kind = MixSettings(kind="prompts", weights={kind: 1}, only={kind: kind})
        prompts[kind] = Output(cells.add(f"data/{kind}", mix, of_kind, **{kind: have.files.prompts}), "mixed.jsonl")
    judged = {"reward_model": first, "second_reward_model": second, "prompts": have.files.evaluation}

    def answers(place: str, tag: str, model: Output) -> str:
        begun = {} if place == "start" else {"before": Output(f"start/{tag}", "answers.jsonl")}
        settings = s.score.model_copy(update={"tag": tag})
        return cells.add(f"{place}/{tag}", score_answers, settings, model=model, **judged, **begun)

    for tag in PROBES:
        answers("start", tag, have.policy)
    for seed in range(s.seeds):
        for arm in (FIRST, LAST, POOL):
            model = _version(cells, s, arm, seed, have.policy, first, prompts)
            place = f"seed-{seed}/{arm.lower().replace(', ', '-').replace(' ', '-')}"
            cells.measured_by(arm, seed, **{tag: answers(place, tag, model) for tag in PROBES})
    return _concluded(cells, s)


def _version(
    cells: Cells, s: Study, arm: str, seed: int, policy: Output, reward: Output, prompts: dict[str, Output]
) -> Output:
    """The model of an arm, after one round or three; rounds that arms have in common are run once."""
    newest, best, path = policy, [], f"seed-{seed}"
    for number in range(1, 2 if arm == FIRST else 4):
        path += "/pool" if number == 2 and arm == POOL else "/last" if number == 2 else ""
        drawn = f"seed-{seed}/best-{number}" if number < 3 else f"{path}/best-{number}"
        kind = "safety" if number == 1 else "helpfulness"
        settings = s.best.model_copy(update={"seed": seed * 10 + number})
        reads = {"model": newest, "reward_model": reward, "prompts": prompts[kind]}
        best.append(Output(cells.add(drawn, sample_best, settings, **reads), "best.jsonl"))
        shown = best[:] if arm == POOL else best[-1:]
        tuned = s.sft.model_copy(update={"seed": seed})
        made = cells.add(f"{path}/sft-{number}", train_sft, tuned, model=policy, demonstrations=shown)
        newest = Output(made, "model")
    return newest


def _concluded(cells: Cells, s: Study) -> list[Stage]:
    scores = {tag: f"gain on {what}" for tag, what in PROBES.items()}
    seconds = {tag: f"gain on {what}, second model" for tag, what in PROBES.items()}
    unsafe, helpful = scores.values()
    return cells.conclude(
        title="Rounds",
        question=__doc__.partition("\n")[0],
        measures=(
            *(Measure(name=name, path=(tag, "gain", "sampled", "score")) for tag, name in scores.items()),
            *(Measure(name=name, path=(tag, "gain", "sampled", "second_score")) for tag, name in seconds.items()),
            *(Measure(name=f"tokens, {what}", path=(tag, "sampled", "num_tokens")) for tag, what in PROBES.items()),
        ),
        claims=(
            Claim(text="the first round raises the score on unsafe prompts", measure=unsafe, cell=FIRST),
            Claim(text="the last round alone forgets it", measure=unsafe, cell=LAST, against=FIRST, direction="below"),
            Claim(text="all rounds keep it: above the last round alone", measure=unsafe, cell=POOL, against=LAST),
            Claim(
                text=f"on ordinary prompts the two are within {FLAT:g}",
                measure=helpful,
                cell=POOL,
                against=LAST,
                direction="within",
                than=FLAT,
            ),
            Claim(text="the last round alone raises the score there", measure=helpful, cell=LAST),
            Claim(text="by the second reward model too", measure=seconds["helpful"], cell=LAST),
        ),
        figures=(
            Figure(title="Gain over the start", measures=(unsafe, helpful), x_label="standard deviations"),
            Figure(
                title="By a second reward model, of other pairs",
                measures=tuple(seconds.values()),
                x_label="standard deviations",
            ),
        ),
        notes=(
            "Gains are over the policy that every round fine-tunes anew, prompt by prompt, in standard deviations of "
            "each reward model's scores of its answers.",
            f"A round: the best of {s.best.num_samples} to {s.best.max_prompts} prompts, {s.sft.epochs:g} epochs. The "
            "pool has more rows, hence takes more steps.",
        ),
    )
