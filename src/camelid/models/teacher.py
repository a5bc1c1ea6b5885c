"""A teacher, whose answers are learnt from: a server, recorded answers in its place, or a model on this machine.

A question is answered once: the journal, an SQLite file beside the stage's directory, has every request and every raw
answer, so a killed stage goes on by asking again what it asked before. An answer that is of no use, because it was cut
off, is empty or does not parse, is asked for again under another seed, and then set aside; nothing is guessed.

    teacher = Teacher.of(run, settings.teacher)
    for said in teacher.ask([Question("a", (Message(role="user", content="Why?"),))], Decoding(temperature=0.7)):
        print(said.text or said.set_aside)

Left out: streaming, tools. Imports no torch, unless the teacher is a model on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from camelid.durable import write_json_lines
from camelid.models.completion import Completion, read_completion
from camelid.models.journal import Journal
from camelid.models.server import Asked, Server, ServerSettings
from camelid.runs import Run
from camelid.types import Messages

MOST_ASKS = 1000
"""Seeds of a question's samples are so far apart, so that no two are the same request."""


class Decoding(BaseModel):
    """How an answer is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the smallest set of tokens that has this share of the probability."""
    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of an answer, its reasoning included."""
    stop: tuple[str, ...] = ()
    """An answer ends before one of these."""
    presence_penalty: float = 0.0
    """Taken off the logits of tokens that the answer has; servers only."""
    frequency_penalty: float = 0.0
    """The same for each time that it has them; servers only."""

    def body(self) -> dict[str, Any]:
        """As fields of a request; what is usual is left out."""
        usual = Decoding()
        chosen = {name: value for name, value in self.model_dump().items() if value != getattr(usual, name)}
        return chosen | {"temperature": self.temperature, "max_tokens": self.max_tokens}


class TeacherSettings(BaseModel):
    """Teacher."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    server: ServerSettings = ServerSettings()
    """Where it is. Without a journal of its own name, teacher-MODEL.sqlite beside the stage's directory is taken."""
    replay: str = ""
    """A file of recorded answers, served on loopback in place of a server (`camelid teacher replay`)."""
    terms: str = ""
    """What the teacher's terms say of using its answers, written beside every row."""
    asks: int = Field(default=2, ge=1, le=MOST_ASKS)
    """How often a question is asked, each time under another seed, before it is set aside."""
    chat_format: str = "model"
    """Chat format of a teacher on this machine."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Format of its matrix products: float32, bfloat16 or auto."""
    batch_rows: int = Field(default=256, ge=1)
    """Answers that it draws side by side; what a kill can cost."""

    @model_validator(mode="after")
    def _one_place(self) -> TeacherSettings:
        if self.replay and self.server.model:
            raise ValueError(f"the teacher is {self.server.model!r} and the file {self.replay}: set one of the two")
        return self


class Question(NamedTuple):
    """What a teacher is asked."""

    name: str
    """What the caller knows it by."""
    messages: Messages
    sample: int = 0
    """The n-th answer to the same messages."""


class Said(NamedTuple):
    """What came of a question."""

    text: str
    """Empty where it was set aside."""
    finish_reason: str
    set_aside: str = ""
    """Why there is no answer of use."""
    model: str = ""
    """Who answered, by the server's word."""
    request: str = ""
    """What the journal knows the request by."""


class Answers(Protocol):
    """Where answers come from."""

    @property
    def journal(self) -> Journal | None:
        """What keeps requests and answers."""
        ...

    def ask_each(
        self, requests: Iterable[tuple[int, Mapping[str, Any]]], record: Callable[[int, Asked[Completion]], None]
    ) -> None:
        """As `Server.ask_each`."""
        ...

    def key(self, body: Mapping[str, Any]) -> str:
        """As `Server.key`."""
        ...


def cut_or_empty(said: Said) -> str:
    """Why an answer is of no use whatever was asked."""
    if said.finish_reason == "length":
        return "cut off"
    return "" if said.text.strip() else "empty"


class Teacher:
    """Asks, and says what it cost. `close` ends what was opened for it."""

    def __init__(
        self, settings: TeacherSettings, name: str, answers: Answers, close: Callable[[], None] = lambda: None
    ):
        self.settings, self.name, self.answers, self.close = settings, name, answers, close
        self._asked: set[str] = set()

    @classmethod
    def of(cls, run: Run, settings: TeacherSettings) -> Teacher:
        """The local model of the stage's input `teacher`, the file `replay`, or the server."""
        if "teacher" in run.inputs:
            from camelid.models.local_teacher import LocalTeacher

            model = run.inputs["teacher"]
            kept = Journal(run.path.parent / f"teacher-{_as_name(model.name)}.sqlite")
            return cls(settings, model.name, LocalTeacher(model, settings, kept))
        if settings.replay:
            from camelid.models.replay_server import ReplayServer, ReplaySettings

            recorded = ReplayServer(Path(settings.replay), ReplaySettings())
            recorded.start()
            at = settings.server.model_copy(update={"base_url": recorded.url, "model": recorded.name, "journal": ""})
            return cls(settings, recorded.name, Server(at, "/chat/completions", read_completion), recorded.close)
        at = settings.server
        if not at.model:
            raise ValueError(
                "no teacher: name a server's model in teacher.server.model, a file in teacher.replay, or give a model "
                "on this machine as --teacher"
            )
        if not at.journal:
            journal = str(run.path.parent / f"teacher-{_as_name(at.model)}.sqlite")
            at = at.model_copy(update={"journal": journal})
        return cls(settings, at.model, Server(at, "/chat/completions", read_completion))

    def ask(
        self,
        questions: Sequence[Question],
        decoding: Decoding,
        *,
        wrong: Callable[[Said], str] = cut_or_empty,
        tick: Callable[[int], object] = lambda number: None,
    ) -> list[Said]:
        """What came of each question, in their order. `wrong` says why an answer is of no use, or nothing.

        `tick` hears of questions that are done. Raises RemoteError where the server cannot be used, and
        BudgetSpentError; the journal keeps what has come.
        """
        said: dict[int, Said] = {}
        open_ones = list(range(len(questions)))
        for turn in range(self.settings.asks):
            last = turn == self.settings.asks - 1

            def record(place: int, asked: Asked[Completion], turn: int = turn, last: bool = last) -> None:
                answer = self._said(questions[place], turn, decoding, asked, wrong)
                said[place] = answer
                if last or not answer.set_aside:
                    tick(1)

            bodies = ((place, self._body(questions[place], turn, decoding)) for place in open_ones)
            self.answers.ask_each(bodies, record)
            open_ones = [place for place in open_ones if said[place].set_aside]
        return [said[place] for place in range(len(questions))]

    def _body(self, question: Question, turn: int, decoding: Decoding) -> dict[str, Any]:
        """The first sample's first request is the plain one, so that it is the same for everybody who asks it."""
        seed = question.sample * MOST_ASKS + turn
        body = {"model": self.name, "messages": [m.model_dump() for m in question.messages], **decoding.body()}
        return body | ({"seed": seed} if seed else {})

    def _said(
        self,
        question: Question,
        turn: int,
        decoding: Decoding,
        asked: Asked[Completion],
        wrong: Callable[[Said], str],
    ) -> Said:
        request = self.answers.key(self._body(question, turn, decoding))
        self._asked.add(request)
        if asked.found is None:
            return Said("", "", f"no answer: {asked.rejected}", request=request)
        found = asked.found
        said = Said(found.text, found.finish_reason, "", found.model, request)
        why = wrong(said)
        return said._replace(text="", set_aside=why) if why else said

    def write_provenance(
        self,
        run: Run,
        made: Mapping[str, Said],
        *,
        template: str,
        decoding: Decoding,
        notes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """provenance.jsonl: where each row comes from, by its id. `template` names the form of the question.

        `notes`: more about a row, or what differs from the others.
        """
        same = {"teacher": self.name, "terms": self.settings.terms, "template": template}
        rows = [
            {
                "id": row,
                **same,
                "served_by": said.model,
                "decoding": decoding.model_dump(),
                "request": said.request,
                "answered_at": self._time(said.request),
                **(notes or {}).get(row, {}),
            }
            for row, said in made.items()
        ]
        write_json_lines(run.path / "provenance.jsonl", rows)

    def _time(self, request: str) -> str:
        at = self.answers.journal and self.answers.journal.answered_at(request)
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""

    def spent(self) -> dict[str, float]:
        """Over all that the journal has: attempts, tokens, and dollars where prices are known."""
        journal = self.answers.journal
        if journal is None:
            return {}
        prompt, completion = journal.tokens()
        spent = {"teacher_requests": float(journal.attempts()), "teacher_prompt_tokens": prompt}
        spent["teacher_completion_tokens"] = completion
        usd = self.answers.spending.usd if isinstance(self.answers, Server) else None
        return spent | ({} if usd is None else {"teacher_usd": usd})

    def spent_a_row(self, rows: int) -> dict[str, float]:
        """Tokens and dollars for each of `rows` rows that were kept, of all that was asked for them.

        What the journal answered counts, as do repetitions and what was set aside; what others asked does not.
        """
        server = self.answers if isinstance(self.answers, Server) else None
        if self.answers.journal is not None:
            tokens = self.answers.journal.tokens_of(self._asked)
        else:
            tokens = server.spending.tokens if server else (0.0, 0.0)
        if not rows:
            return {}
        price = server.spending.price if server else None
        return {"tokens_a_row": sum(tokens) / rows} | ({"usd_a_row": price.of(*tokens) / rows} if price else {})


def _as_name(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-")
