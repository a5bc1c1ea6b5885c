"""A turn as ShareGPT's pages have it, HTML with the page's buttons in it, as the Markdown that the model wrote.

The rules are those of FastChat's `clean_sharegpt.py` (lm-sys/FastChat), for markdownify (extra `curate`), in our words.
Departures: what is Markdown already is not converted again, which would take `<Person>` out of `List<Person>` and put
backslashes before underscores (`html=always` does as the original does); and the language of a code block is sought on
the block's first line only, where the original looks through everything up to the next "Copy code".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Literal

from camelid.collect.drafts import Unfit

Html = Literal["auto", "always", "never"]

OPENS_A_BLOCK = re.compile(r"\s*<(?:div|p|pre|ol|ul|h[1-6]|table|blockquote)\b[^>]*>", re.IGNORECASE)
WRAPPERS = re.compile(r"</?(?:div|span)\b[^>]*>", re.IGNORECASE)
"""Inside a code block they would cost it its indents and underscores."""
COPY_BUTTON = re.compile(r"```[ \t]*\n?[ \t]*([^\n`]*?)(?:Copy code)+(.+?)\s*```", re.DOTALL)
"""A code block under the page's bar with the language and the button; the button's text may stand there twice."""
EMPTY_BLOCK = re.compile(r"```[ \t]*\n?[^\n`]*Copy code\s*```")
REGENERATED = re.compile(r"\d+ / \d+")
"""Which of several answers is shown."""
COPY_COUNT = re.compile(r"Copy\d+ chars / \d+ words")


def is_html(answers: Sequence[str]) -> bool:
    """Whether a conversation's answers come from the page's HTML: each that is not empty opens a block."""
    given = [answer for answer in answers if answer.strip()]
    return bool(given) and all(OPENS_A_BLOCK.match(answer) for answer in given)


def to_markdown(text: str) -> str:
    """HTML as Markdown. Raises Unfit where the parser gives up, ImportError where markdownify is not installed."""
    try:
        import bs4
        import markdownify
    except ImportError:
        raise ImportError("HTML to Markdown needs markdownify: pip install 'camelid[curate]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bs4.MarkupResemblesLocatorWarning)  # a turn that is only a link or a name
            return str(markdownify.markdownify(WRAPPERS.sub("", text)))
    except (bs4.builder.ParserRejectedMarkup, AssertionError, RecursionError) as error:
        raise Unfit(f"parser error: {type(error).__name__} {error}") from None


def without_the_page(text: str) -> str:
    """Markdown without what belongs to the page: buttons, counts, which answer of how many."""
    text = COPY_BUTTON.sub(r"```\1\n\2\n```", EMPTY_BLOCK.sub("", text.strip()))
    found = REGENERATED.match(text)
    text = text[found.end() :] if found else text
    return COPY_COUNT.sub("", text).replace("\n\n\n", "\n").strip()
