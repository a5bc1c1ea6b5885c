"""Policy steps: at equal time on one reward model and the same prompts, which of them raises the score, at what KL?

PPO, RLOO, GRPO, online DPO, DPO on judged pairs of the policy's own answers, and fine-tuning on the best of eight, each
from the same policy, each on the same prompts, against a reward model of one half of the starter set's pairs. Answers
to prompts that none has seen are scored by it and by a second reward model, of the other half, that none was trained
to please. Numbers of iterations are chosen so that all take about as long here; what each took is on the page.

    camelid study policy-steps
"""

from __future__ import annotations

from typing import Any

from camelid.annotate.pairs import PairSettings, sample_pairs
from camelid.annotate.scripted import ScriptedSettings, annotate_by_reward_model
from camelid.evaluate.score_answers import ScoreSettings, score_answers
from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Measure
from camelid.evaluate.studies.took import TookSettings, took
from camelid.models.loading import resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.sampling import Sampling
from camelid.runs import Output, Stage
from camelid.studies._cells import CHAT, TOKENS, Cells, StudySettings
from camelid.studies._starter import StarterSettings, reward_model_of_half, starter
from camelid.train.dpo import DpoSettings, train_dpo
from camelid.train.online_dpo import OnlineDpoSettings, train_online_dpo
from camelid.train.policy_gradient import PolicyGradientSettings, train_policy_gradient
from camelid.train.ppo import PpoSettings, train_ppo
from camelid.train.rejection import BestSettings, sample_best
from camelid.train.scoring import ScoreSettings as Scoring
from camelid.train.sft import SftSettings, train_sft

START = "start"
ARMS = ("PPO", "RLOO", "GRPO", "online DPO", "DPO", "best of 8")
MODEL = ModelSettings(lora_first_layer=14, micro_batch_tokens=TOKENS)
DRAWN = Sampling(max_new_tokens=40)
COMMON: dict[str, Any] = {"chat_format": CHAT, "model": MODEL, "learning_rate": 5e-4}
ON_ROLLOUTS = COMMON | {"sampling": DRAWN, "scoring": Scoring(unfinished_score=None)}
GROUPS = ON_ROLLOUTS | {"prompts_an_iteration": 12, "num_samples": 4, "prompts_a_step": 4}


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy and both reward models, trained once for all arms and seeds."""
    ppo: PpoSettings = PpoSettings(**ON_ROLLOUTS, num_iterations=8, batch_size=48, mini_batch_size=16, kl_coef=0.02)
    """PPO."""
    rloo: PolicyGradientSettings = PolicyGradientSettings(**GROUPS, algorithm="rloo", num_iterations=8)
    """RLOO."""
    grpo: PolicyGradientSettings = PolicyGradientSettings(**GROUPS, algorithm="grpo", num_iterations=8)
    """GRPO."""
    online_dpo: OnlineDpoSettings = OnlineDpoSettings(**GROUPS, num_iterations=10)
    """Online DPO."""
    pairs: PairSettings = PairSettings(chat_format=CHAT, sampling=DRAWN, other_sampling=DRAWN, max_prompts=224)
    """Pairs of the policy's answers for DPO, judged by the reward model."""
    dpo: DpoSettings = DpoSettings(**COMMON, batch_size=16, epochs=1, held_out=0)
    """DPO."""
    best: BestSettings = BestSettings(chat_format=CHAT, sampling=DRAWN, num_samples=8, max_prompts=160)
    """The best of eight."""
    sft: SftSettings = SftSettings(**COMMON, batch_size=16, epochs=2)
    """Fine-tuning on them."""
    score: ScoreSettings = ScoreSettings(chat_format=CHAT, sampling=DRAWN, num_samples=2, max_prompts=96)
    """Answers to prompts never seen."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    first, second = (
        reward_model_of_half(cells, start, have.files, have.samples, s.starter.reward, half) for half in (0, 1)
    )
    asked = {"reward_model": first, "second_reward_model": second, "prompts": have.files.evaluation}
    before = cells.add("start/answers", score_answers, s.score, model=have.policy, **asked)
    cells.measured_by(START, 0, answers=before)
    scored = {"model": have.policy, "reward_model": first, "prompts": have.files.prompts}
    for seed in range(s.seeds):
        for arm in ARMS:
            made = _arm(cells, s, arm, seed, scored)
            place = f"seed-{seed}/{_name(arm)}"
            manifests = [Output(stage, "manifest.json") for stage in made]
            time = cells.add(f"{place}/took", took, TookSettings(), manifests=manifests)
            own = {"model": Output(made[-1], "model"), "start_model": have.policy}
            reads = asked | own | {"before": Output(before, "answers.jsonl")}
            answers = cells.add(f"{place}/answers", score_answers, s.score, **reads)
            cells.measured_by(arm, seed, answers=answers, took=time)
    return _concluded(cells, s)


def _name(arm: str) -> str:
    return arm.lower().replace(" ", "-")


def _arm(cells: Cells, s: Study, arm: str, seed: int, scored: dict[str, Any]) -> list[str]:
    """The stages that make an arm; the last one leaves the model."""
    place = f"seed-{seed}/{_name(arm)}"

    def seeded(settings: Any) -> Any:
        return settings.model_copy(update={"seed": seed})

    if arm == "DPO":
        two = {"model": scored["model"], "other_model": scored["model"], "prompts": scored["prompts"]}
        pairs = cells.add(f"{place}/pairs", sample_pairs, seeded(s.pairs), **two)
        judging = {"comparisons": Output(pairs, "comparisons.jsonl"), "reward_model": scored["reward_model"]}
        judged = cells.add(f"{place}/verdicts", annotate_by_reward_model, ScriptedSettings(chat_format=CHAT), **judging)
        reads = {"model": scored["model"], "preferences": Output(judged, "preferences.jsonl")}
        return [pairs, judged, cells.add(f"{place}/train", train_dpo, seeded(s.dpo), **reads)]
    if arm == "best of 8":
        best = cells.add(f"{place}/best", sample_best, seeded(s.best), **scored)
        reads = {"model": scored["model"], "demonstrations": Output(best, "best.jsonl")}
        return [best, cells.add(f"{place}/train", train_sft, seeded(s.sft), **reads)]
    loops: dict[str, tuple[Any, Any]] = {
        "PPO": (train_ppo, s.ppo),
        "RLOO": (train_policy_gradient, s.rloo),
        "GRPO": (train_policy_gradient, s.grpo),
        "online DPO": (train_online_dpo, s.online_dpo),
    }
    function, settings = loops[arm]
    return [cells.add(f"{place}/train", function, seeded(settings), **scored)]


def _concluded(cells: Cells, s: Study) -> list[Stage]:
    score, kl, gain, second = "score", "KL from the start", "gain in score", "gain by the second model"
    at = "answers"
    return cells.conclude(
        title="Policy steps at equal time",
        question=__doc__.partition("\n")[0],
        measures=(
            Measure(name=score, path=(at, "sampled", "score")),
            Measure(name="score by the second model", path=(at, "sampled", "second_score")),
            Measure(name=gain, path=(at, "gain", "sampled", "score"), arms=ARMS),
            Measure(name=second, path=(at, "gain", "sampled", "second_score"), arms=ARMS),
            Measure(name=kl, path=(at, "kl_from_start"), arms=ARMS),
            Measure(name="tokens", path=(at, "sampled", "num_tokens")),
            Measure(name="seconds", path=("took", "seconds"), arms=ARMS),
        ),
        claims=(
            *(Claim(text=f"{arm} raises the score on prompts never seen", measure=gain, cell=arm) for arm in ARMS),
            *(Claim(text=f"{arm} raises it by the second model too", measure=second, cell=arm) for arm in ARMS),
        ),
        figures=(
            Figure(
                title="Score of answers to prompts never seen, over KL",
                kind="plane",
                measures=(kl, gain),
                x_label="KL from the start, nats a completion",
                y_label="gain in score, standard deviations",
            ),
            Figure(
                title="The same by a reward model that none was trained to please",
                kind="plane",
                measures=(kl, second),
                x_label="KL from the start, nats a completion",
                y_label="gain in score, standard deviations",
            ),
        ),
        notes=(
            "Scores are in standard deviations of each reward model's scores of the start's answers; gains are prompt "
            "by prompt.",
            "Seconds are those of all stages of an arm on this machine, sampling, scoring and loading included; the "
            "settings of no arm were searched for.",
            f"All arms train adapters at a learning rate of {s.ppo.learning_rate:g}.",
        ),
    )
