"""A row as text for people: which parts are trained and which are only read."""

from itertools import groupby

from tunesmith.data.template import TokenRow
from tunesmith.data.tokenizer import Tokenizer, decode


def segments(tokenizer: Tokenizer, row: TokenRow) -> list[tuple[str, bool]]:
    """Pieces of the row's text, each supervised or not; together they are the whole text.

    A piece is what decoding adds to the text before it, since some tokenizers write the first
    token of a text without its space.
    """
    ids = row.ids.tolist()
    pieces: list[tuple[str, bool]] = []
    text, stop = "", 0
    for supervised, run in groupby(row.weights > 0):
        start, stop = stop, stop + sum(1 for _ in run)
        longer = decode(tokenizer, ids[:stop])
        added = longer.removeprefix(text) if longer.startswith(text) else None
        pieces.append((decode(tokenizer, ids[start:stop]) if added is None else added, supervised))
        text = longer
    return [(piece, bool(supervised)) for piece, supervised in pieces]
