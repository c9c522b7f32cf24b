"""Which tokens are scored, and what stands before them? As EleutherAI's lm-eval cuts texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunesmith.data.tokenizer import Tokenizer, begins_texts_with, encode
from tunesmith.errors import ModelError


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens ``ids``, of which those from ``scored`` on are scored, each given all before it.

    Spans of one ``group`` begin alike. ``cut``: tokens that the window left out in front.
    """

    ids: tuple[int, ...]
    scored: int
    group: int
    cut: int = 0


class Reader:
    """Texts to tokens, for a model that reads ``window`` tokens at most."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        """Raises ModelError where no token can stand before the first one of a text."""
        self.tokenizer, self.window = tokenizer, window
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        if first is None:
            raise ModelError("The tokenizer has no token that begins or ends a text.")
        self._first = first
        self._begin = [] if begins_texts_with(tokenizer) is None else [first]

    def continuations(self, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[Span]:
        """Each continuation after its context, those of one context a group.

        White space that ends a context goes into its continuations, which are cut out of the
        tokens of both together; a context without text is the token that texts begin with. What
        is longer than the window loses its beginning.
        """
        moved = [_move_space(context, choices) for context, choices in pairs]
        contexts = encode(self.tokenizer, [context for context, _ in moved])
        wholes = encode(self.tokenizer, [c + choice for c, choices in moved for choice in choices])
        whole, spans = iter(wholes), []
        for group, (context, (_, choices)) in enumerate(zip(contexts, moved, strict=True)):
            before = [*self._begin, *context] or [self._first]
            for _ in choices:
                after = next(whole)[len(context) :]
                cut = max(0, len(before) + len(after) - self.window - 1)
                ids = (*before, *after)[cut:]
                spans.append(Span(ids, max(1, len(before) - cut), group, cut))
        return spans

    def texts(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """The spans of each text, which score every token once, each a group of its own.

        The first token is given the one that texts begin with; a text longer than the window is
        read in windows that overlap by a token, the last one a whole window too.
        """
        found: list[tuple[Span, ...]] = []
        group = 0
        for ids in encode(self.tokenizer, list(texts)):
            spans = tuple(Span(*window, group + i) for i, window in enumerate(self._windows(ids)))
            group += len(spans)
            found.append(spans)
        return found

    def _windows(self, ids: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
        """Tokens of a window, and the first of them that is scored."""
        given = [self._first, *ids]
        for start in range(0, len(ids), self.window):
            stop = min(len(ids), start + self.window)
            first = max(0, stop - self.window)
            yield tuple(given[first : stop + 1]), start - first + 1


def _move_space(context: str, choices: Sequence[str]) -> tuple[str, list[str]]:
    """White space at the end of the context moved to the beginning of what follows."""
    bare = context.rstrip()
    return bare, [context[len(bare) :] + choice for choice in choices]
