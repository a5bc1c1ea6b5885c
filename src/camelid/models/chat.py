"""Chat formats: messages to token ids and a loss mask, and token ids back to text.

One path serves training, sampling, scoring and serving. A format is a Jinja template. It is rendered with placeholders
and split into control segments and contents (`skeleton.py`); control segments are encoded with special tokens parsed,
contents as plain text (`text_codec.py`), and the ids are put together. The text is checked against the ordinary
rendering of the real contents.

Ids are therefore not always those of the whole rendering encoded at once (`tokenizer.apply_chat_template`). They are
equal for benign text. They differ, on purpose,
- where a content holds the text of a special token: here it is plain text, there a forged turn;
- where an answer begins with white space or a sign that would merge with the end of the generation prompt: a sampled
  answer starts after the prompt's last token, so that is where a trained one starts;
- where a content ends in white space that would merge with the template's.
`prompt_ids` of the earlier turns is always a prefix of `render(...).ids`.

The loss mask comes from positions, never from ids: pad equal to end of turn hides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from camelid.models import template_sandbox
from camelid.models.formats import REQUIRED_TOKENS, TEMPLATES, built_in_template, writes_contents
from camelid.models.parse_chat import find_messages
from camelid.models.skeleton import ChatFormatError, Skeletons, Slot, fill
from camelid.models.template_worker import MAX_OUTPUT_CHARS
from camelid.models.text_codec import TextCodec
from camelid.types import TRAIN_LAST, Conversation, Message, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["ChatFormat", "ChatFormatError", "Rendered", "TrainOn", "load_chat_format", "what_trains"]

TrainOn = Literal["assistant", "last", "everything"]
"""Which tokens train: those of all assistant turns, of the last one only, or all but the first, which none precedes."""


Segment = list[int] | Slot
PAD_NAMES = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>", "<|end_of_text|>", "<unk>")


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens: T ids and T flags, True where the token trains."""

    ids: list[int]
    loss_mask: list[bool]


class ChatFormat:
    """A chat template bound to a tokenizer; where it cannot be trained or sampled it raises ChatFormatError.

    `template` can be saved as a model's chat template: it renders the same text in transformers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, template: str):
        self.template = template
        self.codec = TextCodec(tokenizer)
        self._writes_contents = writes_contents(template)
        self._special = {name: text for name, text in tokenizer.special_tokens_map.items() if text}
        self._bos = tokenizer.bos_token_id
        self._skeletons = Skeletons(self._render_text, self.codec.starts_with_token)
        self._segments: dict[tuple[tuple[Role, ...], bool], list[Segment]] = {}
        # A trial conversation: a template that cannot be trained fails here, not in the middle of a data set.
        prompt, self._answer, ending = _around_answer(self._segments_of(("user", "assistant"), False))
        self._answer_is_fresh = isinstance(prompt, list) and self.codec.is_fresh_after(prompt[-1])
        ends = [ending[0], tokenizer.eos_token_id]
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(id for id in ends if id is not None))
        """The end of turn, and the end of sequence where that is another token."""
        self.pad_id: int = _pad_id(tokenizer, self.stop_ids)
        """Padding: no stop id if the vocabulary has any other special token."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation that waits for the assistant, the generation prompt included."""
        if not messages or messages[-1].role != "user":
            last = messages[-1].role if messages else "nobody"
            raise ChatFormatError(f"a prompt must end with a user turn, not with one by {last}; drop the last turn")
        return self._encode(messages, generation=True)[0]

    def render(
        self, messages: Sequence[Message], *, train_on: TrainOn = "assistant", max_tokens: int | None = None
    ) -> Rendered:
        """A whole conversation with its loss mask.

        A trained turn is what the model has to write: the answer, the template's white space around it (`Slot`), and
        the end-of-turn token; not what follows that (ChatML's newline). Beyond `max_tokens` the end is cut off; an
        end of turn that was cut off stays absent, for a model must not learn to stop there.
        """
        ids, turns = self._encode(messages, generation=False)
        spans = {"assistant": turns, "last": turns[-1:], "everything": [(1, len(ids))]}
        mask = [False] * len(ids)
        for start, end in spans[train_on]:
            mask[start:end] = [True] * (end - start)
        if not any(mask):
            raise ChatFormatError(
                f"no token trains: none of the {len(messages)} turns is by the assistant; add an answer or drop the row"
            )
        if max_tokens is not None and not any(mask[: max(max_tokens, 0)]):
            raise ChatFormatError(
                f"max_tokens={max_tokens} cuts off every token that trains: the first one is number "
                f"{mask.index(True) + 1} of {len(ids)}; raise max_tokens, shorten the prompt, or drop the row"
            )
        return Rendered(ids[:max_tokens], mask[:max_tokens])

    def completion_text(self, ids: Sequence[int]) -> str:
        """The text of sampled ids up to the first stop id, if any, without the template's white space around it."""
        end = next((i for i, id in enumerate(ids) if id in self.stop_ids), len(ids))
        text = self.codec.decode(ids[:end], fresh=self._answer_is_fresh)
        return text.removeprefix(self._answer.before).removesuffix(self._answer.after)

    def parse(self, ids: Sequence[int]) -> tuple[Message, ...]:
        """The messages whose `render` (or, after a generation prompt, `prompt_ids`) gives exactly these ids.

        Raises ChatFormatError where there are none, or where two readings are possible: a turn of 'vicuna', 'koala',
        'alpaca' or 'llama2' that holds the format's own plain-text marker, such as ' ASSISTANT:'. What the tokens do
        not carry does not come back: white space that the template trims ('llama2'); whether a user wrote '<<SYS>>'
        ('llama2': read as a system message); a system message equal to the one that the template adds by itself.
        """
        return find_messages(list(ids), self.codec, self._segments_of, self._encode)

    def _encode(self, messages: Sequence[Message], generation: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids, and the start and end of each assistant turn in them, end of turn included."""
        segments = self.segments(messages, generation)
        ids: list[int] = []
        turns: list[tuple[int, int]] = []
        for segment in segments:
            if isinstance(segment, list):
                ids += segment
                continue
            start = len(ids)
            fresh = self.codec.is_fresh_after(ids[-1] if ids else None)
            ids += self.codec.content(segment.text(messages[segment.message].content), fresh=fresh)
            if segment.role == "assistant":
                turns.append((start, len(ids) + 1))  # one more: the end of turn, first of the following segment
        return ids, turns

    def segments(self, messages: Sequence[Message], generation: bool) -> list[Segment]:
        """The segments for these roles; raises unless the skeleton, filled, is the template's text for the contents."""
        if not messages:
            raise ChatFormatError("an empty conversation cannot be rendered; drop the row")
        roles = tuple(message.role for message in messages)
        contents = [message.content for message in messages]
        if self._writes_contents and sum(map(len, contents)) + 512 * len(contents) < MAX_OUTPUT_CHARS:
            return self._segments_of(roles, generation)
        stock = self._render_text([message.model_dump() for message in messages], generation)
        if fill(self._skeletons.split(roles, generation), contents) != stock:
            self._skeletons.forget()  # it may have been made yesterday, by a template that writes the date
            self._segments.clear()
            text = fill(self._skeletons.split(roles, generation), contents)
            if text != stock:
                at = next((i for i, (a, b) in enumerate(zip(text, stock, strict=False)) if a != b), len(stock))
                raise ChatFormatError(
                    f"the chat template changes the contents: {text[at : at + 40]!r} became {stock[at : at + 40]!r}. "
                    f"Drop the row, or use a template that writes contents as they are (or trims them)"
                )
        return self._segments_of(roles, generation)

    def _segments_of(self, roles: tuple[Role, ...], generation: bool) -> list[Segment]:
        """The skeleton for these roles with its control text encoded."""
        key = (roles, generation)
        if key not in self._segments:
            pieces = self._skeletons.split(roles, generation)
            segments: list[Segment] = [
                piece if isinstance(piece, Slot) else self.codec.control(piece, fresh=i == 0)
                for i, piece in enumerate(pieces)
            ]
            self._refuse_doubled_start(segments)
            self._segments[key] = segments
        return self._segments[key]

    def _refuse_doubled_start(self, segments: list[Segment]) -> None:
        first = segments[0]
        if self._bos is not None and isinstance(first, list) and first[:2] == [self._bos, self._bos]:
            raise ChatFormatError(
                f"the chat template writes the start token {self.codec.decode([self._bos])!r} twice; "
                f"remove one from the template"
            )

    def _render_text(self, messages: Sequence[dict[str, str]], generation: bool) -> str:
        variables: dict[str, Any] = {**self._special, "messages": list(messages), "add_generation_prompt": generation}
        try:
            return template_sandbox.render(self.template, {"tools": None, "documents": None, **variables})
        except template_sandbox.TemplateError as error:
            raise ChatFormatError(str(error)) from error


def what_trains(conversation: Conversation, train_on: TrainOn) -> TrainOn:
    """What of a conversation trains: its last answer alone where its tags say so, else what is asked for all rows."""
    return "last" if TRAIN_LAST in conversation.tags else train_on


def load_chat_format(tokenizer: PreTrainedTokenizerFast, name: str = "model") -> ChatFormat:
    """A chat format by name: "model" (the tokenizer's own template), a built-in one, or the path of a .jinja file.

    Raises ChatFormatError if there is no such format or it does not suit the tokenizer.
    """
    if name == "model":
        if not tokenizer.chat_template:
            raise ChatFormatError(
                f"the tokenizer has no chat template; name one of {', '.join(TEMPLATES)}, or a .jinja file"
            )
        return ChatFormat(tokenizer, tokenizer.get_chat_template())
    if name in TEMPLATES:
        missing = [token for token in REQUIRED_TOKENS.get(name, ()) if token not in tokenizer.get_vocab()]
        if missing:
            raise ChatFormatError(
                f"the vocabulary lacks {' and '.join(missing)}, which {name!r} needs; add them with "
                f"`camelid models add-tokens`, or choose a format that ends turns with eos_token, such as 'vicuna'"
            )
        writes_start = tokenizer.bos_token_id is not None and tokenizer.encode("a")[:1] == [tokenizer.bos_token_id]
        return ChatFormat(tokenizer, built_in_template(name, tokenizer_writes_start=writes_start))
    path = Path(name)
    if path.suffix != ".jinja" or not path.is_file():
        raise ChatFormatError(
            f"no chat format {name!r}; choose 'model', {', '.join(TEMPLATES)}, or the path of a .jinja file"
        )
    return ChatFormat(tokenizer, path.read_text(encoding="utf-8"))


def _around_answer(segments: list[Segment]) -> tuple[Segment, Slot, list[int]]:
    """What stands before the first answer, its slot, and the control segment that begins with its end of turn."""
    for before, slot, after in zip(segments, segments[1:], segments[2:], strict=False):
        if isinstance(slot, Slot) and slot.role == "assistant" and isinstance(after, list):
            return before, slot, after
    raise ChatFormatError("the chat template starts with the assistant's turn; use one that starts with the user's")


def _pad_id(tokenizer: PreTrainedTokenizerFast, stop_ids: tuple[int, ...]) -> int:
    """A special token that is no stop id: the tokenizer's own, unk, one of a telling name, any; else the stop id."""
    added = {str(token): id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = [added[name] for name in PAD_NAMES if name in added]
    others = [id for id in added.values() if id != tokenizer.bos_token_id]
    candidates = [tokenizer.pad_token_id, tokenizer.unk_token_id, *named, *others, tokenizer.bos_token_id]
    return next((id for id in candidates if id is not None and id not in stop_ids), stop_ids[0])
