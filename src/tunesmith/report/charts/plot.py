"""What is a plot on a page: a picture, its words, and the same numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plot:
    """``alt`` says what the picture shows; ``rows`` are its numbers under ``header``.

    Without an ``svg`` the table stands for itself.
    """

    name: str
    title: str
    note: str
    svg: str
    alt: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
