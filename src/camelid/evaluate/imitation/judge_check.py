"""The stage that asks whether a judge may be believed, before anything is said with it.

Its accuracy on judgements that it never saw stands beside the rule "the longer answer wins", which on GPT-4's
judgements is hard to beat; so do both rules' accuracies on the pairs where the shorter answer won. It also scores the
teacher's answers, cut where the students' are cut, so that students can win or lose against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from camelid.durable import append_json_lines, write_json
from camelid.functional.statistics import proportion
from camelid.models.model_settings import ModelSettings
from camelid.models.reward_model import RewardModel
from camelid.runs import Run, Settings
from camelid.types import Conversation, Preference, read_records


class JudgeCheckSettings(Settings):
    """Check of a judge."""

    model: ModelSettings = ModelSettings()
    """How the judge is held in memory."""
    chat_format: str = "model"
    """The judge's chat format."""
    max_answer_tokens: int = Field(default=96, ge=1)
    """The reference's answers are cut to this many tokens, as the students' are."""


def check_judge(run: Run) -> dict[str, Any]:
    """Stage: `reward_model`, `preferences` (unseen), `reference` (conversations) -> accuracy.json, reference.jsonl."""
    s: JudgeCheckSettings = run.settings
    judge = RewardModel.load(run.inputs["reward_model"], s.model, s.chat_format)
    results = accuracy(judge, read_records(run.inputs["preferences"], Preference))
    rows = []
    reference = read_records(run.inputs["reference"], Conversation)
    texts = [cut(judge, row.messages[-1].content, s.max_answer_tokens) for row in reference]
    scores = judge.score([judge.row(r.messages[:-1], t or " ") for r, t in zip(reference, texts, strict=True)]).tolist()
    for row, text, score in zip(reference, texts, scores, strict=True):
        prompt = [message.model_dump() for message in row.messages[:-1]]
        rows.append({"prompt_id": row.id, "prompt": prompt, "text": text, "judge_score": score})
    (run.path / "reference.jsonl").unlink(missing_ok=True)  # of an execution that was stopped
    append_json_lines(run.path / "reference.jsonl", rows)
    results["reference_cut"] = sum(t != r.messages[-1].content.strip() for t, r in zip(texts, reference, strict=True))
    write_json(run.path / "accuracy.json", results)
    return results


def accuracy(judge: RewardModel, pairs: Sequence[Preference]) -> dict[str, Any]:
    """Accuracy of the judge and of "the longer wins", over all pairs and where the shorter answer was chosen."""
    rows = [judge.row(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
    scores = judge.score(rows).view(-1, 2)
    right = (scores[:, 0] > scores[:, 1]).tolist()
    gaps = [len(p.chosen) - len(p.rejected) for p in pairs]
    shorter_won = [r for r, gap in zip(right, gaps, strict=True) if gap < 0]
    longer = sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps)
    follows_length = sum(r == (gap > 0) for r, gap in zip(right, gaps, strict=True) if gap)
    return {
        "accuracy": proportion(sum(right), len(right))._asdict(),
        "longer_wins": proportion(longer, len(gaps))._asdict(),
        "accuracy_where_the_shorter_won": (
            proportion(sum(shorter_won), len(shorter_won))._asdict() if shorter_won else None
        ),
        "prefers_the_longer": proportion(follows_length, max(sum(g != 0 for g in gaps), 1))._asdict(),
    }


def cut(judge: RewardModel, text: str, max_tokens: int) -> str:
    """The beginning of a text, in the judge's tokens."""
    ids = judge.tokenizer(text.strip(), add_special_tokens=False)["input_ids"]
    return text.strip() if len(ids) <= max_tokens else judge.tokenizer.decode(ids[:max_tokens]).strip()
