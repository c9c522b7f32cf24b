"""The stream that the layer at work belongs to, for seams that a layer calls with x alone.

The layer wrapper sets it from its own argument, in forward and again when backward recomputes
the layer, so it can never be another micro-batch's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tunesmith.engine.batch import PackedBatch

_STREAM: ContextVar[PackedBatch | None] = ContextVar("stream", default=None)


def current_stream() -> PackedBatch:
    """The stream of the layer that is being computed; RuntimeError outside a layer."""
    stream = _STREAM.get()
    if stream is None:
        raise RuntimeError("A linear layer of the base was called outside a packed stream.")
    return stream


@contextmanager
def within(stream: PackedBatch) -> Iterator[None]:
    """Make ``stream`` the current one while a layer runs."""
    token = _STREAM.set(stream)
    try:
        yield
    finally:
        _STREAM.reset(token)
