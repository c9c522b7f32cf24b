"""Where does what a model writes end its thinking, and what does it say after it?"""

import re
from collections.abc import Sequence
from typing import Literal

from tunesmith.data.chat_format import pattern, special_tokens
from tunesmith.data.chat_text import CLOSE, OPEN, split_thinking
from tunesmith.data.tokenizer import HALF, Tokenizer, decode

MARKS = {
    OPEN: CLOSE,
    "<|channel>thought": "<channel|>",  # Gemma 4
    "[THINK]": "[/THINK]",  # Ministral 3
    "<seed:think>": "</seed:think>",  # Seed
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
}
"""What opens the thinking of an answer, and what closes it, as chat templates have them."""

# gpt-oss writes messages, each to a channel: `analysis` is its thinking, and `final` what it says.
STARTS, MESSAGE, MESSAGE_END = ("<|start|>", "<|channel|>"), "<|message|>", "<|end|>"
HEADER = re.compile(r"(?:<\|start\|>[^<]*)?(?:<\|channel\|>[^<]*)?(?:<\|constrain\|>[^<]*)?")
MAX_HEADER = 256
END_TOKENS = 16  # of a prompt, in which the mark is that opens the thinking
APART = "\n\n"  # between two parts of thinking, and of what is said
Part = Literal["thinking", "said"]


def split_answer(text: str, until: str | None = None) -> tuple[str, str]:
    """The thinking of what a model wrote, special tokens and all, and what it says after it.

    The opening mark may be missing: some prompts write it. ``until`` closes what one has opened.
    """
    thinking, said = ThinkingText(until).add(text, last=True)
    unopened, said = split_thinking(said)
    return unopened or thinking, said


def text_of(tokenizer: Tokenizer, ids: Sequence[int], until: str | None = None) -> str:
    """The text of an answer, without its thinking, which a prompt may have opened (``until``).

    A character that was cut at the end is dropped.
    """
    written = decode(tokenizer, ids)
    said = split_answer(written, until)[1]
    if said == written:
        said = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    else:
        special = special_tokens(tokenizer)
        said = pattern(special[i] for i in {*ids} & {*special}).sub("", said)
    return said.rstrip(HALF)


def closing_of(prompt: str) -> str | None:
    """What closes the thinking that the end of a prompt has opened; None where it has not."""
    end = prompt.rstrip()
    return next((close for mark, close in MARKS.items() if end.endswith(mark)), None)


class ThinkingText:
    """Splits a text while it grows into thinking and what is said, without the marks of both.

    What may be a part of a mark is held back until it is known to be none.
    """

    def __init__(self, until: str | None = None) -> None:
        """``until`` closes the thinking that the prompt has opened."""
        self._until = until
        self._part: Part | None = None if until is None else "thinking"
        self._held = ""
        self._closed = False  # any part: white space after it is no text
        self._any = {"thinking": False, "said": False}
        self._between = ""  # what comes before the next text of this part

    def add(self, new: str, *, last: bool = False) -> tuple[str, str]:
        """The thinking, and what is said, that are certain with this text."""
        self._held += new
        found = {"thinking": "", "said": ""}
        while self._part is not None or self._open(last=last):
            assert self._part is not None
            text, is_closed = self._take(last=last)
            if text:
                found[self._part] += self._between + text
                self._any[self._part], self._between = True, ""
            if not is_closed:
                break
            self._part, self._closed = None, True
        return found["thinking"], found["said"]

    def _open(self, *, last: bool) -> bool:
        """Begin the part that the text is in now; False while that is not certain."""
        text = self._held.lstrip()
        if text.startswith(STARTS):
            header = HEADER.match(text)
            assert header is not None
            if text.startswith(MESSAGE, header.end()):
                self._open_message(text, header[0])
                return True
            if not last and len(text) < MAX_HEADER:
                return False
        for mark, close in MARKS.items():
            if text.startswith(mark):
                self._begin("thinking", text.removeprefix(mark), close)
                return True
        if not last and any(mark.startswith(text) for mark in (*MARKS, *STARTS)):
            return False
        self._begin("said", text if self._closed else self._held, None)
        return bool(self._held)

    def _open_message(self, text: str, header: str) -> None:
        said = text[len(header) + len(MESSAGE) :]
        if "to=" in header:  # a call, which is read with its header
            self._begin("said", text, MESSAGE_END)
        else:
            self._begin("thinking" if "analysis" in header else "said", said, MESSAGE_END)

    def _begin(self, part: Part, text: str, until: str | None) -> None:
        self._part, self._held, self._until = part, text, until
        self._between = APART if self._any[part] else ""

    def _take(self, *, last: bool) -> tuple[str, bool]:
        """What is certain of a part's text, and whether the part is closed."""
        if self._until is None:
            text, self._held = self._held, ""
            return text, False
        is_thinking = self._part == "thinking"
        if is_thinking and (self._between or not self._any["thinking"]):
            self._held = self._held.lstrip()
        text, closed, rest = self._held.partition(self._until)
        if not closed and not last:
            text = text[: len(text) - overlap(text, self._until)]
        if is_thinking:
            text = text.rstrip()
        self._held = rest if closed or last else self._held[len(text) :]
        return text, bool(closed)


def overlap(text: str, mark: str) -> int:
    """Characters at the end of a text with which a mark begins."""
    most = min(len(text), len(mark) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(mark[:n])), 0)
