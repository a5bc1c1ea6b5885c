"""`camelid chat`: lines in, answers out, as they are written."""

from __future__ import annotations

import pytest

from camelid.cli import main
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.types import Message


def talk(lines: list[str], monkeypatch, *words: str) -> None:
    left = iter(lines)

    def read(prompt: str = "") -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    assert main(["chat", *words]) == 0


def answers(model, *conversations: list[Message], seeds: list[int], tokens: int) -> list[str]:
    """What the policy says to each, as the terminal shows it."""
    policy, found = Policy.load(model), []
    for messages, seed in zip(conversations, seeds, strict=True):
        how = Sampling(temperature=0.7, max_new_tokens=tokens)
        sample = policy.sample([policy.chat.prompt_ids(messages)], how, seed=seed)[0][0]
        found.append(policy.chat.completion_text(sample.ids).rstrip() + ("" if sample.finished else " [cut]"))
    return found


def said(text: str) -> list[str]:
    return " ".join(text.split()).replace(" [cut] ", " [cut]\n").split("\n")


def test_reset_forgets_and_quit_ends(tied_llama, monkeypatch, capsys):
    talk(
        ["Hello", "", "/reset", "Hello", "/quit", "never read"], monkeypatch, str(tied_llama), "--max-new-tokens", "12"
    )
    out, err = capsys.readouterr()
    hello = [Message(role="user", content="Hello")]
    expected = answers(tied_llama, hello, hello, seeds=[1, 2], tokens=12)
    assert said(out) == [" ".join(text.split()) for text in expected]
    assert "/reset forgets, /quit ends" in err


def test_the_end_of_input_ends_it_and_eight_bits_answer_too(tied_llama, monkeypatch, capsys):
    talk(["Hello"], monkeypatch, str(tied_llama), "--int8", "--max-new-tokens", "12")
    assert capsys.readouterr().out.strip()


def test_a_run_without_a_model_says_so(tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"stages": {}}')
    assert main(["chat", str(tmp_path)]) == 1
    assert "has left a language model yet" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--temperature", "hot"], ["--int4"]])
def test_words_that_make_no_sense(tied_llama, words, capsys):
    with pytest.raises(SystemExit):
        main(["chat", str(tied_llama), *words])
    assert words[-1] in capsys.readouterr().err
