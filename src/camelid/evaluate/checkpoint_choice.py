"""Of several checkpoints the one whose answers score highest, beside the one with the lowest validation loss.

InstructGPT fine-tuned for 16 epochs, past the lowest validation loss, and chose by reward (Ouyang et al. 2022,
arXiv:2203.02155, section 3.5 and appendix C.1); LLaMA-2 chose its checkpoints so, too, and had people confirm the major
versions (arXiv:2307.09288, section 3.2.3). All answer the same prompts with the same random numbers.

    camelid choose-checkpoint --models runs/a/model runs/b/model --reward_model REWARD --prompts prompts.jsonl \\
        --demonstrations held_out.jsonl --set 'names=["1 epoch","4 epochs"]'
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.demonstration_nll import demonstration_rows, likelihoods
from camelid.functional.perplexity import nats_a_unit
from camelid.functional.statistics import bootstrap_mean, paired_bootstrap_difference
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Lengths, Reader, fitting_prompts, row_limit
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Prompt, draw, read_records


class ChoiceSettings(Settings):
    """Choice of a checkpoint."""

    names: tuple[str, ...] = ()
    """A name for each of the models, in their order; none: their numbers."""
    model: ModelSettings = ModelSettings()
    """How the models are held in memory."""
    chat_format: str = "model"
    """Chat format of all of them."""
    sampling: Sampling = Sampling(temperature=0.7)
    """How answers are drawn."""
    max_prompts: int = Field(default=0, ge=0)
    """Use so many prompts, drawn at random; 0 for all."""
    max_tokens: int = Field(default=1024, ge=8)
    """Longer demonstrations are set aside."""


class Candidate(BaseModel):
    """What a checkpoint scored."""

    model_config = ConfigDict(frozen=True)

    name: str
    scores: list[float]
    """One a prompt."""
    nats: list[float]
    tokens: list[int]
    """One a demonstration."""


def choose_checkpoint(run: Run) -> dict[str, Any]:
    """Stage: `models` (folders), `reward_model`, optional `safety_reward_model`, `prompts`, optional `demonstrations`
    (held-out conversations) -> model/ (that of the highest score), candidates.jsonl, results.json."""
    s: ChoiceSettings = run.settings
    folders: list[Path] = run.inputs["models"] if isinstance(run.inputs["models"], list) else [run.inputs["models"]]
    names = s.names or tuple(str(number) for number in range(1, len(folders) + 1))
    if len(names) != len(folders) or len(set(names)) < len(names):
        raise ValueError(f"{len(folders)} models and the names {', '.join(names)}: give each a name of its own")
    prompts = draw(read_records(run.inputs["prompts"], Prompt), s.max_prompts, derived_seed(s.seed, "prompts"))
    readers = [Reader.of(folder, s.chat_format) for folder in folders]
    prompts, too_long = fitting_prompts(run, prompts, readers, "set_aside", s.sampling.max_new_tokens)
    file = run.path / "candidates.jsonl"
    done = keep_whole_chunks(file, 1, len(folders))
    if done < len(folders):
        rewards = Rewards.load(
            run.inputs["reward_model"], run.inputs.get("safety_reward_model"), s.model, s.chat_format
        )
        with run.progress("answers", len(folders) * len(prompts), done * len(prompts)) as tick:
            for name, folder in list(zip(names, folders, strict=True))[done:]:
                append_json_lines(file, [measure(run, name, folder, prompts, rewards, tick).model_dump()])
    candidates = [Candidate.model_validate_json(line) for line in read_whole_lines(file)]
    results = describe(candidates)
    write_json(run.path / "results.json", results)
    link_tree(folders[names.index(results["by_reward"])], run.path / "model")
    return {key: results[key] for key in ("by_reward", "by_loss", "differ")} | too_long


def measure(run: Run, name: str, folder: Path, prompts: Sequence[Prompt], rewards: Rewards, tick: Any) -> Candidate:
    """A checkpoint's answers, scored, and its likelihood of the demonstrations."""
    s: ChoiceSettings = run.settings
    policy = Policy.load(folder, s.model, s.chat_format)
    ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    drawn = policy.sample(ids, s.sampling, seed=derived_seed(s.seed, "answers"), tick=tick)
    texts = [policy.chat.completion_text(samples[0].ids).strip() for samples in drawn]
    scores = rewards.score(prompts, texts).tolist()
    if "demonstrations" not in run.inputs:
        return Candidate(name=name, scores=scores, nats=[], tokens=[])
    conversations = read_records(run.inputs["demonstrations"], Conversation)
    limit = row_limit(s.max_tokens, policy.model.config.max_position_embeddings)
    rows = demonstration_rows(policy, conversations, Lengths("demonstrations", "set_aside", limit))
    nats, tokens = likelihoods(policy, rows)
    return Candidate(name=name, scores=scores, nats=nats, tokens=tokens)


def describe(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Scores and losses, and who is chosen by each. Of equal ones the earlier is."""
    means = {c.name: sum(c.scores) / len(c.scores) for c in candidates}
    by_reward = max(candidates, key=lambda c: means[c.name])
    rows = {
        c.name: {
            "score": bootstrap_mean(c.scores)._asdict(),
            "nll": nats_a_unit(c.nats, c.tokens)._asdict() if c.nats else None,
        }
        for c in candidates
    }
    results: dict[str, Any] = {"candidates": rows, "by_reward": by_reward.name, "by_loss": None, "differ": None}
    if all(c.nats for c in candidates):
        by_loss = min(candidates, key=lambda c: sum(c.nats) / sum(c.tokens))
        gain = paired_bootstrap_difference(by_reward.scores, by_loss.scores)
        results |= {
            "by_loss": by_loss.name,
            "differ": by_loss.name != by_reward.name,
            "score_gained": gain._asdict(),
        }
    return results


def link_tree(source: Path, target: Path) -> None:
    """The folder again, its files linked where the disk allows it: a chosen model takes no second place."""

    def link(file: str, copy: str) -> None:
        try:
            os.link(file, copy)
        except OSError:  # another disk
            shutil.copy2(file, copy)

    shutil.rmtree(target, ignore_errors=True)  # what a kill left
    shutil.copytree(source, target, copy_function=link)
