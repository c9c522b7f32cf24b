"""The text of an answer while it is made: whole characters, and nothing of a stop text."""

from collections.abc import Callable, Sequence

from tunesmith.data.thinking import ThinkingText, overlap
from tunesmith.data.tokenizer import HALF

Decode = Callable[[Sequence[int]], str]


class TextStream:
    """Text that grows token by token; what was returned is never taken back."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        # The text of tokens before ``_done`` was returned; decoding starts a little earlier, at
        # ``_from``, since some tokenizers write the first token of a text without its space.
        self._from = self._done = 0

    def add(self, token: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith(HALF):
            return ""
        self._from, self._done = self._done, len(self._ids)
        return text

    def end(self) -> str:
        """What was held back, without a character that never became whole."""
        text = self._new().rstrip(HALF)
        self._from = self._done = len(self._ids)
        return text

    def _new(self) -> str:
        before = self._decode(self._ids[self._from : self._done])
        return self._decode(self._ids[self._from :])[len(before) :]


class StoppingText:
    """A ``TextStream`` that ends before the first of the stop texts.

    What may be the start of a stop text is held back until it is known to be none. With
    ``thinking`` it is what is said behind that, where alone stop texts are looked for.
    """

    def __init__(
        self, decode: Decode, stop: Sequence[str], thinking: ThinkingText | None = None
    ) -> None:
        self._stream, self._thinking = TextStream(decode), thinking
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False
        self.thought = ""
        """The thinking that became certain last."""

    def add(self, token: int) -> str:
        """The text that is certain after this token; ``stopped`` is set where it completed one."""
        return self._certain(self._said(self._stream.add(token)))

    def end(self) -> str:
        """What was held back, up to a stop text that is in it."""
        self.thought = ""
        if self.stopped:
            return ""
        text = self._certain(self._said(self._stream.end(), last=True))
        rest, self._held = self._held, ""
        return text + rest

    def _said(self, new: str, *, last: bool = False) -> str:
        if self._thinking is None:
            return new
        self.thought, said = self._thinking.add(new, last=last)
        return said

    def _certain(self, new: str) -> str:
        text = self._held + new
        cut = cut_at_stop(text, self._stop)
        if len(cut) < len(text) or (cut == "" and text):
            self.stopped, self._held = True, ""
            return cut
        kept = max((overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    ends = [at for s in stop if (at := text.find(s)) >= 0]
    return text[: min(ends)] if ends else text
