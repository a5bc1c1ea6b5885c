"""K answers of the policy to each prompt, put in order by the scripted annotator: InstructGPT's labelers ranked 4 to 9
(Ouyang et al. 2022, arXiv:2203.02155, section 3.5).

Scores closer than `tie_within` are a tie, as the labelers had them. Equal answers count once, and a prompt whose
answers are all alike or all tied leaves no ranking.

    camelid rank --model MODEL --reward_model ANNOTATOR --prompts prompts.jsonl --set num_samples=6
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Prompt, Ranking, draw, kind_of, read_records, write_records


class RankSettings(Settings):
    """Rankings."""

    model: ModelSettings = ModelSettings()
    """How policy and annotator are held in memory."""
    chat_format: str = "model"
    """Chat format of both."""
    sampling: Sampling = Sampling()
    """How answers are drawn."""
    num_samples: int = Field(default=6, ge=2)
    """K, answers a prompt; InstructGPT had 4 to 9."""
    tie_within: float = Field(default=0.1, ge=0)
    """Scores (standard deviations) closer than this to the next better one's share its rank."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""


def rank_answers(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `safety_reward_model` (the annotator's), `prompts` -> rankings.jsonl."""
    s: RankSettings = run.settings
    drawn = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    policy = Policy.load(run.inputs["model"], s.model, s.chat_format)
    reader = Reader(policy.chat, policy.model.config.max_position_embeddings)
    prompts, too_long = fitting_prompts(run, drawn, [reader], s.too_long, s.sampling.max_new_tokens)
    ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    with run.progress("answers", len(prompts) * s.num_samples) as tick:
        samples = policy.sample(
            ids, s.sampling, seed=derived_seed(s.seed, "answers"), num_samples=s.num_samples, tick=tick
        )
    texts = [[policy.chat.completion_text(sample.ids).strip() for sample in k] for k in samples]
    different = [list(dict.fromkeys(text for text in own if text)) for own in texts]
    annotator = Rewards.load(run.inputs["reward_model"], run.inputs.get("safety_reward_model"), s.model, s.chat_format)
    asked = [p for p, own in zip(prompts, different, strict=True) for _ in own]
    scores = iter(annotator.score(asked, [text for own in different for text in own]).tolist())
    rankings = []
    for prompt, own in zip(prompts, different, strict=True):
        ranks = ranks_of([next(scores) for _ in own], s.tie_within)
        if len(set(ranks)) > 1:
            rankings.append(_ranking(prompt, own, ranks))
    if not rankings:
        raise ValueError(
            f"none of {len(prompts)} prompts has answers of two ranks: draw more of them (num_samples={s.num_samples}) "
            f"or lower tie_within={s.tie_within:g}"
        )
    write_records(run.path / "rankings.jsonl", rankings)
    counts = {
        "num_prompts": len(prompts),
        "num_rankings": len(rankings),
        "num_pairs": sum(len(r.pairs) for r in rankings),
    }
    return counts | too_long


def ranks_of(scores: Sequence[float], tie_within: float) -> tuple[int, ...]:
    """Ranks in the order of the scores given, 1 for the best; a score within `tie_within` of the next better one's has
    its rank."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    ranks = [0] * len(scores)
    rank, better = 0, float("inf")
    for place in order:
        rank += better - scores[place] > tie_within
        better = scores[place]
        ranks[place] = rank
    return tuple(ranks)


def _ranking(prompt: Prompt, completions: Sequence[str], ranks: tuple[int, ...]) -> Ranking:
    return Ranking(
        prompt=prompt.prompt,
        completions=tuple(completions),
        ranks=ranks,
        kind=kind_of(prompt),
        annotator="scripted",
        source=prompt.source,
        licence=prompt.licence,
        tags=prompt.tags,
    )
