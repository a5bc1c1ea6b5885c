"""A model on this machine as the teacher: asked as a server is, its answers in the same journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from camelid.durable import directory_digest
from camelid.models.completion import Completion, read_completion
from camelid.models.journal import Journal, key_of, written
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling, wrong_prompt
from camelid.models.server import Asked
from camelid.models.teacher import TeacherSettings
from camelid.runs import derived_seed
from camelid.types import Message

PENALTIES = ("presence_penalty", "frequency_penalty")


class LocalTeacher:
    """Loaded when something is asked that the journal has not."""

    def __init__(self, model: Path, settings: TeacherSettings, journal: Journal):
        self.model, self.settings, self.journal = model, settings, journal
        self.address = f"local:{directory_digest(model)}"
        self._policy: Policy | None = None

    def key(self, body: Mapping[str, Any]) -> str:
        return key_of(self.address, written(body))

    def ask_each(
        self, requests: Iterable[tuple[int, Mapping[str, Any]]], record: Callable[[int, Asked[Completion]], None]
    ) -> None:
        """In chunks of `batch_rows` that do not depend on what is known already, so that a kill changes no draw."""
        asked = list(requests)
        for start in range(0, len(asked), self.settings.batch_rows):
            chunk = asked[start : start + self.settings.batch_rows]
            if any(self.journal.answer(self.key(body)) is None for _, body in chunk):
                self._draw([body for _, body in chunk])
            for place, body in chunk:
                answer = self.journal.answer(self.key(body))
                assert answer is not None
                found = read_completion(answer)
                refused = json.loads(answer)["refused"] if found is None else ""
                record(place, Asked(found, 0, rejected=refused))

    def _draw(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Answer all, and write down those that are not yet."""
        policy = self._loaded()
        sampling = _sampling(bodies[0], self.settings.batch_rows)
        prompts = [policy.chat.prompt_ids(tuple(Message(**m) for m in body["messages"])) for body in bodies]
        context = policy.model.config.max_position_embeddings
        wrong = [wrong_prompt(len(ids), sampling, context) for ids in prompts]
        fit = [i for i, why in enumerate(wrong) if not why]
        seed = derived_seed(0, *(self.key(body) for body in bodies))
        drawn = policy.sample([prompts[i] for i in fit], sampling, seed=seed) if fit else []
        answers = {
            i: self._answer(policy, samples[0], sampling, len(prompts[i]))
            for i, samples in zip(fit, drawn, strict=True)
        }
        for i, body in enumerate(bodies):
            key = self.key(body)
            if self.journal.answer(key) is None:
                answer = answers.get(i) or {"refused": f"the prompt {wrong[i]}"}
                used = answer.get("usage", {})
                self.journal.goes_out(key, self.address, written(body))
                counts = used.get("prompt_tokens", 0), used.get("completion_tokens", 0)
                self.journal.came_back(key, 200, json.dumps(answer), *counts)

    def _answer(self, policy: Policy, sample: Sample, sampling: Sampling, prompt_tokens: int) -> dict[str, Any]:
        """As a server would write it, which leaves the stop string out."""
        text = policy.chat.completion_text(sample.ids)
        ends = [place for stop in sampling.stop if (place := text.find(stop)) >= 0]
        text = text[: min(ends)] if ends else text
        message = {"role": "assistant", "content": text}
        choice = {"message": message, "finish_reason": "stop" if sample.finished else "length"}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(sample.ids)}
        return {"model": self.model.name, "choices": [choice], "usage": usage}

    def _loaded(self) -> Policy:
        if self._policy is None:
            settings = ModelSettings(precision=self.settings.precision)
            self._policy = Policy.load(self.model, settings, self.settings.chat_format)
        return self._policy


def _sampling(body: Mapping[str, Any], rows: int) -> Sampling:
    """Raises ValueError for what our engine has not."""
    for name in PENALTIES:
        if body.get(name):
            raise ValueError(f"{name}={body[name]:g}: a teacher on this machine has none; set it to 0")
    return Sampling(
        temperature=body["temperature"],
        top_p=body.get("top_p", 1.0),
        max_new_tokens=body["max_tokens"],
        stop=tuple(body.get("stop", ())),
        batch_rows=rows,
    )
