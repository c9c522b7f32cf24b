"""What of a row is compared with other rows, trifles folded, and what a check of rows finds."""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NewType

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.rows import Conversation, Message

Folded = NewType("Folded", str)  # case and white space folded
Bare = NewType("Bare", str)  # punctuation left out as well, words with one space between

SHORT_CHARACTERS = 256
# Signs that make another formula or name of a text (+ # % * / & @ $ < > = ^ ~ |) are kept.
_DROPPED, _SPACED = "'`", '.,;:!?"()[]{}-_\\'
_ASCII = str.maketrans(dict.fromkeys(_DROPPED, None) | dict.fromkeys(_SPACED, " "))
_OTHER_DROPPED = re.compile("[’‘´\u200b-\u200f\ufeff]")
_OTHER_SPACED = re.compile("[\u2010-\u2015\u201a-\u205e\u3001-\u3003\u3008-\u301f·・¡¿«»]")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_CHARACTER_OR_WORD = re.compile(
    f"{_UNSPACED.pattern}|[^\\s{_UNSPACED.pattern[1:]}+"  # scripts that put no space between words
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A row with what observers compare.

    ``question_key`` is a hash of the folded question, ``answer_key`` of the letters of the answer.
    The question is all that is not trained, without a system message: in a chat with several
    turns that is every message of the user. Where nothing is asked, the answer takes its place.
    """

    conversation: Conversation
    system: str | None
    question: str
    answer: str
    folded_question: Folded
    folded_answer: Folded
    bare_question: Bare
    bare_answer: Bare
    question_key: int
    answer_key: int


def see(conversation: Conversation) -> Seen:
    """The row as observers take it."""
    messages, trained = conversation.messages, set(conversation.supervised)
    system = messages[0].content if messages and messages[0].role == "system" else None
    asked = [
        spoken_text(m) for i, m in enumerate(messages) if i not in trained and m.role != "system"
    ]
    learned = [spoken_text(messages[i]) for i in sorted(trained)]
    answer = "\n".join(learned)
    question = "\n".join(asked)
    if not question.strip():
        question = answer
    folded_question, folded_answer = fold(question), fold(answer)
    bare_answer = bare(folded_answer)
    return Seen(
        conversation,
        system,
        question,
        answer,
        folded_question,
        folded_answer,
        bare(folded_question),
        bare_answer,
        digest(folded_question),
        digest(letters(bare_answer)),
    )


def spoken_text(message: Message) -> str:
    """What a message says, and which tools it calls with what."""
    if not message.tool_calls:
        return message.content
    calls = [[call.name, call.arguments] for call in message.tool_calls]
    text = json.dumps(calls, ensure_ascii=False, sort_keys=True)
    return f"{message.content}\n{text}" if message.content else text


def fold(text: str) -> Folded:
    """The text in one case, in one Unicode form, with one space for any white space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.casefold()
    is_plain = text.isprintable() and "  " not in text  # no white space but single spaces
    return Folded(text.strip(" ") if is_plain else " ".join(text.split()))


def bare(folded: Folded) -> Bare:
    """The text without punctuation; a text of punctuation only stays as it is.

    Signs and points that make another number of one stay in other signs.
    """
    if folded.isascii():
        plain = _numbers_kept(folded).translate(_ASCII)
    else:
        plain = _numbers_kept(unicodedata.normalize("NFKC", folded).casefold())
        plain = _OTHER_SPACED.sub(" ", _OTHER_DROPPED.sub("", plain)).translate(_ASCII)
    return Bare(" ".join(plain.split()) or folded)


# A minus, and what is between two digits and no thousands separator.
_MINUS, _POINT = re.compile(r"(?<![\w.)])[-\u2212](?=\d)"), re.compile(r"(?<=\d)[.,:](?=\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def _numbers_kept(text: str) -> str:
    return _POINT.sub("|", _MINUS.sub("~", _THOUSANDS.sub("", text)))


def letters(text: Bare) -> str:
    """The text without spaces if it is short, so that e-mail, e mail and email are one."""
    return text.replace(" ", "") if len(text) < SHORT_CHARACTERS else text


def is_unspaced(text: Bare) -> bool:
    """Whether its script, or a part of it, puts no space between words."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def count_words(text: Bare) -> int:
    """How many ``words`` it has."""
    spaced = text.isascii() or not _UNSPACED.search(text)
    return text.count(" ") + 1 if spaced else len(words(text))


def words(text: Bare) -> list[str]:
    """Its words; in scripts without spaces between words, its characters."""
    if text.isascii() or not _UNSPACED.search(text):
        return text.split(" ")
    return _CHARACTER_OR_WORD.findall(text)


def digest(*texts: str) -> int:
    """A hash of 64 bits of the texts in this order."""
    hashed = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return int.from_bytes(hashed.digest(), "little")


def mixed(a: int, b: int) -> int:
    """A hash of 64 bits of two numbers of 64 bits in this order."""
    return (a * 0x9E3779B97F4A7C15 + b) & 0xFFFFFFFFFFFFFFFF


def no_rows() -> NDArray[np.int64]:
    """The rows of a finding that is about all of them."""
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class DataFinding:
    """Something worth knowing: ``rows`` are the numbers of the rows it is about, in order.

    ``count`` is given where it is about no rows in particular; ``held`` are the held-out rows that
    it is about besides.
    """

    code: str
    message: str
    rows: NDArray[np.int64] = field(default_factory=no_rows)
    count: int | None = None
    held: int = 0
