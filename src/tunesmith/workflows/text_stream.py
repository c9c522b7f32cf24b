"""Which text is complete after each new token, so that half a character is never shown."""

from collections.abc import Callable, Sequence

_HALF = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Text that grows token by token; what was given out is never taken back."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        # Tokens before ``_told`` are given out; decoding starts a little earlier, at ``_from``,
        # since some tokenizers write the first token of a text without its space.
        self._from = self._told = 0

    def add(self, token: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith(_HALF):
            return ""
        self._from, self._told = self._told, len(self._ids)
        return text

    def end(self) -> str:
        """What was held back, without a character that never became whole."""
        text = self._new().rstrip(_HALF)
        self._from = self._told = len(self._ids)
        return text

    def _new(self) -> str:
        before = self._decode(self._ids[self._from : self._told])
        return self._decode(self._ids[self._from :])[len(before) :]
