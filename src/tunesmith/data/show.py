"""A row as text for people: which parts are trained, which are read, and which are cut off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tunesmith.data.template import TokenRow
from tunesmith.data.tokenizer import Tokenizer, decode

HALF = "\N{REPLACEMENT CHARACTER}"
WINDOW = 32
# Of a character of four bytes three may stand there, each as a sign of its own; as many such signs
# of the text itself take up to four tokens each.
UNSETTLED, UNSETTLED_TOKENS = 3, 12


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one kind: trained or not, and behind the cut (``is_cut``) or not."""

    text: str
    supervised: bool
    is_cut: bool


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of T tokens as the model sees it: ``texts`` and ``supervised`` of each token.

    Rows of more than ``limit`` tokens are refused, cut or dropped by a run.
    """

    file: str
    line: int
    texts: tuple[str, ...]
    supervised: tuple[bool, ...]
    limit: int

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.texts)

    @property
    def supervised_tokens(self) -> int:
        """How many of them are trained."""
        return sum(self.supervised)

    @property
    def text(self) -> str:
        """The whole row, the chat template applied."""
        return "".join(self.texts)

    @property
    def token_ends(self) -> list[int]:
        """Where each token ends, in characters; all tokens of one character end behind it."""
        return list(accumulate(map(len, self.texts)))

    @property
    def cut(self) -> int | None:
        """Where the row would be cut, in characters; None where it is short enough."""
        return sum(map(len, self.texts[: self.limit])) if self.tokens > self.limit else None

    @property
    def spans(self) -> list[tuple[int, int, bool]]:
        """[start, stop, supervised] in characters; together they are the whole text."""
        spans: list[tuple[int, int, bool]] = []
        for end, text, supervised in zip(self.token_ends, self.texts, self.supervised, strict=True):
            if spans and (spans[-1][2] == supervised or not text):
                spans[-1] = (spans[-1][0], end, spans[-1][2])
            else:
                spans.append((end - len(text), end, supervised))
        return spans

    def pieces(self, *, by_token: bool = False) -> Iterator[Piece]:
        """The text in runs of one kind, or token by token."""
        text, found, before = self.text, self.spans, self.cut
        cut = len(text) if before is None else before
        borders = {0, cut, *(edge for start, stop, _ in found for edge in (start, stop))}
        borders |= set(self.token_ends) if by_token else set()
        spans = iter(found)
        start, until, supervised = 0, 0, False
        for stop in sorted(borders - {0}):
            while start >= until:
                _, until, supervised = next(spans)
            yield Piece(text[start:stop], supervised, start >= cut)
            start = stop


def shown(tokenizer: Tokenizer, row: TokenRow, *, limit: int) -> ShownRow:
    """A row with the text of each of its tokens."""
    texts = token_texts(tokenizer, row.ids.tolist())
    trained = tuple(bool(weight > 0) for weight in row.weights)
    return ShownRow(row.file, row.line, tuple(texts), trained, limit)


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token; together they are the whole text.

    A text is what decoding adds to that of the tokens before it, since some tokenizers write the
    first token without its space. Of several tokens of one character the last one has it.
    """
    texts: list[str] = []
    start, before = 0, ""
    for i in range(len(ids)):
        so_far = decode(tokenizer, ids[start : i + 1])
        settled = so_far if i + 1 == len(ids) else so_far[: max(len(before), _settled(so_far))]
        added = settled.startswith(before)
        texts.append(settled[len(before) :] if added else decode(tokenizer, [ids[i]]))
        before = settled
        if i - start >= WINDOW:
            is_settled = settled == so_far
            start = i if is_settled else i - UNSETTLED_TOKENS
            before = decode(tokenizer, ids[start : i + 1])
            before = before if is_settled else before[: _settled(before)]
    return texts


def _settled(text: str) -> int:
    """Characters before the signs at the end that may stand for a character which goes on."""
    return max(len(text.rstrip(HALF)), len(text) - UNSETTLED)
