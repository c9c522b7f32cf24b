"""The stream that the layer at work belongs to, for seams that a layer calls with x alone, and
whether the layer keeps little of what it computes.

The layer wrapper sets it from its own argument, in forward and again when backward recomputes
the layer, so it can never be another micro-batch's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tunesmith.engine.batch import PackedBatch

_STREAM: ContextVar[PackedBatch | None] = ContextVar("stream", default=None)
_KEEPS_LITTLE: ContextVar[bool] = ContextVar("keeps_little", default=False)


def current_stream() -> PackedBatch:
    """The stream of the layer that is being computed; RuntimeError outside a layer."""
    stream = _STREAM.get()
    if stream is None:
        raise RuntimeError("A linear layer of the base was called outside a packed stream.")
    return stream


def keeps_little() -> bool:
    """Whether the layer computes again in backward what is cheap; False outside a layer."""
    return _KEEPS_LITTLE.get()


@contextmanager
def within(stream: PackedBatch, *, keep_little: bool = False) -> Iterator[None]:
    """Make ``stream`` the current one while a layer runs."""
    token, little = _STREAM.set(stream), _KEEPS_LITTLE.set(keep_little)
    try:
        yield
    finally:
        _STREAM.reset(token)
        _KEEPS_LITTLE.reset(little)
