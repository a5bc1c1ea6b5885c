"""Temperature: is there one in the middle at which the best of 16 is highest, while a single answer wants a lower one?

LLaMA-2 found 1.2 to 1.3 best for 10 to 100 samples (arXiv:2307.09288, section 3.2.3, figure 8); a model of 135M
parameters has an optimum of its own, so only the direction is asked: both ends of the range below its middle. Answers
are to prompts that neither the policy nor the reward model has seen. Each seed draws other prompts and answers and has
a reward model of its own; the seeds take the two halves of the starter set's pairs in turn.

    camelid study temperature
"""

from __future__ import annotations

from camelid.evaluate.studies.claims import Claim
from camelid.evaluate.studies.figures import Figure
from camelid.evaluate.studies.readings import Curve, Measure
from camelid.models.loading import resolve_model
from camelid.models.sampling import Sampling
from camelid.runs import Stage
from camelid.studies._cells import CHAT, Cells, StudySettings
from camelid.studies._starter import StarterSettings, reward_model_of_half, starter
from camelid.train.temperature import TemperatureSettings, choose_temperature

ARM = "policy"
BEST, ONE = "the best", "one answer"


class Study(StudySettings):
    """Settings of the study; each is reached from the command line as `--set a.b=value`."""

    starter: StarterSettings = StarterSettings()
    """The policy, trained once for all seeds, and how the seeds' reward models are trained."""
    temperature: TemperatureSettings = TemperatureSettings(
        chat_format=CHAT,
        sampling=Sampling(max_new_tokens=40),
        temperatures=(0.3, 0.6, 0.9, 1.2, 1.5),
        best_of=16,
        num_samples=16,
        max_prompts=40,
    )
    """Answers at each temperature; the middle one is what the ends are compared to."""


def stages(s: Study) -> list[Stage]:
    """The study's stages, in order."""
    start, cells = resolve_model(s.start_model), Cells()
    have = starter(cells, start, s.folder, s.starter)
    for seed in range(s.seeds):
        settings = s.starter.reward
        reward = reward_model_of_half(cells, start, have.files, have.samples, settings, seed % 2, seed=seed)
        tried_at = s.temperature.model_copy(update={"seed": seed})
        reads = {"model": have.policy, "reward_model": reward, "prompts": have.files.evaluation}
        cells.measured(ARM, seed, cells.add(f"seed-{seed}/temperature", choose_temperature, tried_at, **reads))
    tried = sorted(s.temperature.temperatures)
    middle, best_of = tried[len(tried) // 2], f"best_of_{s.temperature.best_of}"
    gaps = {t: f"the best at {t:g} less at {middle:g}" for t in tried if t != middle}
    measures = (
        *(Measure(name=f"the best at {t:g}", path=(best_of, f"temperature_{t:g}")) for t in tried),
        *(Measure(name=gap, path=(f"{best_of}_less_at_{middle:g}", f"temperature_{t:g}")) for t, gap in gaps.items()),
    )
    curves = tuple(
        Curve(name=name, path=("points",), x="temperature", y=y) for name, y in ((BEST, "best"), (ONE, "mean"))
    )
    return cells.conclude(
        title="Temperature",
        question=__doc__.partition("\n")[0],
        measures=measures,
        curves=curves,
        claims=tuple(
            Claim(
                text=f"the best of {s.temperature.best_of} is lower at {t:g} than at {middle:g}",
                measure=gaps[t],
                cell=ARM,
                direction="below",
            )
            for t in (tried[0], tried[-1])
        ),
        figures=(
            Figure(
                title=f"The best of {s.temperature.best_of}, and one answer",
                kind="curve",
                measures=(BEST, ONE),
                x_label="temperature",
                y_label="standard deviations of the policy's scores",
            ),
        ),
        notes=(
            f"{s.temperature.max_prompts} prompts a seed, other ones for each; the policy was trained once.",
            "Differences between temperatures are taken prompt by prompt.",
        ),
    )
