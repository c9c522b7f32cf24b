"""What is asked of a tokenizer: ids of texts (each word tokenized once), new tokens, and text.

Fast tokenizers cut a text at its added tokens and then into words, and look at each by itself.
Where that is certain, it is done here too, and what was met before is looked up: the words of a
language repeat, and a prompt repeats its conversation. All else goes to the
tokenizer.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol, cast

from tokenizers import AddedToken

PLAIN: Mapping[str, bool] = {
    "add_special_tokens": False,
    "return_attention_mask": False,
    "return_token_type_ids": False,
    "verbose": False,
}
HALF = "\N{REPLACEMENT CHARACTER}"
"""What `decode` gives for bytes that are not a whole character, as at the end of a cut answer."""


class TokenOfText(Protocol):
    """A token that is found in a text before anything else is."""

    content: str
    special: bool


class Tokenizer(Protocol):
    """Text to ids and back, and the model's own chat template."""

    bos_token_id: int | None
    eos_token: str | None
    eos_token_id: int | None
    all_special_ids: Sequence[int]
    special_tokens_map: Mapping[str, str | Sequence[str]]
    added_tokens_decoder: Mapping[int, TokenOfText]
    chat_template: str | dict[str, str] | None

    def __call__(self, text: Sequence[str], **options: bool) -> Mapping[str, list[list[int]]]: ...

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, object]], **options: object
    ) -> object: ...

    def get_chat_template(self, *, tools: object = None) -> str: ...

    def add_tokens(self, new_tokens: Sequence[object], /) -> int: ...

    def convert_tokens_to_ids(self, tokens: str, /) -> int: ...

    def decode(
        self, ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str: ...


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text; nothing is added, since templates write their own special tokens."""
    if not texts:
        return []
    return tokenizer(texts, **PLAIN)["input_ids"]


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ``ids``, special tokens and all white space kept."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def with_special_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text with the tokens that this tokenizer adds to plain text."""
    return tokenizer([text], **{**PLAIN, "add_special_tokens": True})["input_ids"][0]


def begins_texts_with(tokenizer: Tokenizer) -> int | None:
    """The token that this tokenizer puts in front of every plain text; None where it puts none."""
    ids = with_special_tokens(tokenizer, "a")
    return ids[0] if ids and ids[0] == tokenizer.bos_token_id else None


def add_tokens_(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Make each text one token; its id, with the ids that the text was before.

    A text that is one token already keeps its id. The tokens are no special ones: they are read
    and written as the text that they are.
    """
    pieces = [tuple(ids) for ids in encode(tokenizer, texts)]
    new = [text for text, ids in zip(texts, pieces, strict=True) if len(ids) != 1]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in new])
    return {
        ids[0] if len(ids) == 1 else tokenizer.convert_tokens_to_ids(text): ids
        for text, ids in zip(texts, pieces, strict=True)
    }


NOTHING = re.compile(r"(?!)")
MAX_WORDS, MAX_WORD_CHARACTERS = 150_000, 64
MAX_ADDED_TOKENS = 1000
PROVEN_TEXTS = 256  # compared with what the tokenizer makes of them whole, before it is believed
# A word may be cut off in front of a single space (U+180E was one in old versions of Unicode), and
# in ASCII where digits begin or end behind another character. Other white space stays where it is.
SPACE = re.compile(r"(?<=[^\s\u180e])(?= [^\s\u180e])")
_PART = r"(?:[0-9]+|[^\s0-9]+)"
ASCII_WORD = re.compile(rf"(?: ?{_PART}|\s+{_PART}?)(?:(?:\s{{2,}}|[^\S ]| \Z){_PART}?)*")
_END = r"|\s+(?!\S)|\s+"
_SHORT, _OTHER = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"| ?[^\s\p{L}\p{N}]+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)
_LINES = r"[\r\n]*|\s*[\r\n]+"
_LINES_OR_SLASHES = r"[\r\n/]*|\s*[\r\n]+"
# How tokenizers split a text into words: each of these begins a word in all of the places above,
# and leaves no character out.
SPLITS = frozenset(
    {
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+{_OTHER}{_END}",  # GPT-2
        rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_OTHER}{_LINES}{_END}",  # Llama 3
        rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_OTHER}{_LINES}{_END}",  # Qwen 2
        f"{_SHORT}?".join(_CASED)
        + rf"{_SHORT}?|\p{{N}}{{1,3}}{_OTHER}{_LINES_OR_SLASHES}{_END}",  # GPT-4o
        "".join(_CASED) + rf"|\p{{N}}{_OTHER}{_LINES_OR_SLASHES}{_END}",  # Tekken
    }
)


# What may come with these splits: nothing else looks at what follows a space.
_NORMALIZERS = (None, "NFC")


class Encoding(Protocol):
    """A text as tokens."""

    ids: list[int]


class Backend(Protocol):
    """What of a fast tokenizer is used directly."""

    def to_str(self) -> str: ...

    def encode_batch_fast(
        self, texts: Sequence[str], *, add_special_tokens: bool
    ) -> Sequence[Encoding]: ...


def remembering(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that remembers words; it gives the same ids, and all else it is asked as well."""
    return cast("Tokenizer", WordCache(tokenizer))


class WordCache:
    """Stands in for a tokenizer where plain ids of texts are asked for; the rest is passed on."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._backend: Backend | None = getattr(tokenizer, "backend_tokenizer", None)
        self._added = None if self._backend is None else added_tokens(self._backend)
        self._ids: dict[str, tuple[int, ...]] = {}
        self._unproven = PROVEN_TEXTS

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)

    def __call__(self, text: Sequence[str], **options: bool) -> Mapping[str, list[list[int]]]:
        """What the tokenizer gives; from memory where plain ids are asked for."""
        if self._added is None or options != PLAIN or isinstance(text, str):
            return self._tokenizer(text, **options)
        ids = self._remembered(text, self._added)
        if self._unproven:
            some = text[: self._unproven]
            if encode(self._tokenizer, some) != ids[: len(some)]:
                self._added = None
                return self._tokenizer(text, **options)
            self._unproven -= len(some)
        return {"input_ids": ids}

    def _remembered(self, texts: Sequence[str], added: re.Pattern[str]) -> list[list[int]]:
        pieces = [list(filter(None, added.split(text))) for text in texts]
        words = {piece: words_of(piece) for piece in set(chain.from_iterable(pieces))}
        long = self._learn(set(chain.from_iterable(words.values())))
        whole = {piece: _joined(each, self._ids) for piece, each in words.items()}
        for word in long:
            del self._ids[word]
        return [_joined(each, whole) for each in pieces]

    def _learn(self, words: set[str]) -> list[str]:
        """Look the ids of new words up; those come back that are too long to be kept."""
        if len(self._ids) > MAX_WORDS:
            self._ids.clear()
        new = [word for word in words if word not in self._ids]
        assert self._backend is not None
        encodings = self._backend.encode_batch_fast(new, add_special_tokens=False)
        self._ids.update((word, tuple(each.ids)) for word, each in zip(new, encodings, strict=True))
        return [word for word in new if len(word) > MAX_WORD_CHARACTERS]


def _joined(parts: Iterable[str], ids: Mapping[str, Sequence[int]]) -> list[int]:
    return list(chain.from_iterable(map(ids.__getitem__, parts)))


def words_of(text: str) -> list[str]:
    """The words of a text that holds no added token, with all that is between them."""
    if text.isascii():
        return ASCII_WORD.findall(text)
    words = SPACE.split(text)
    return [part for w in words for part in (ASCII_WORD.findall(w) if w.isascii() else (w,))]


def added_tokens(backend: Backend) -> re.Pattern[str] | None:
    """What finds a tokenizer's added tokens; None unless its texts may be cut at them and words."""
    made = json.loads(backend.to_str())
    added = made.get("added_tokens") or []
    flags = ("normalized", "single_word", "lstrip", "rstrip")
    plain = not any(token[flag] for token in added for flag in flags)
    normalizer = (made.get("normalizer") or {}).get("type")
    whole = made.get("truncation") is None and made.get("padding") is None
    chance = made["model"].get("dropout")
    if not (plain and whole and normalizer in _NORMALIZERS and not chance):
        return None
    if len(added) > MAX_ADDED_TOKENS or not _splits_words(made.get("pre_tokenizer") or {}):
        return None
    longest_first = sorted((token["content"] for token in added), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if added else NOTHING


def _splits_words(splitter: Mapping[str, object]) -> bool:
    """Whether a pre-tokenizer is one of those that are known here."""
    steps = splitter["pretokenizers"] if splitter.get("type") == "Sequence" else [splitter]
    found = [_kind(step) for step in cast("list[Mapping[str, object]]", steps)]
    return None not in found and "words" in found


def _kind(step: Mapping[str, object]) -> str | None:
    """`words` for a step that splits into words, None for one that is not known."""
    match step:
        case {"type": "Digits"}:
            return "digits"
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": bool(words)}:
            return "words" if words else "bytes"
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "invert": False}:
            known = pattern in SPLITS and step["behavior"] == "Isolated"
            return "words" if known else None
    return None
