"""From conversations to arrays: every row rendered, measured against the limit, stored flat."""

from collections.abc import Iterable
from dataclasses import replace

from tunesmith.data.dataset import Dataset, dataset_of
from tunesmith.data.faults import FaultBook, refuse
from tunesmith.data.limit import Limit, TooLong, limited, nothing_left
from tunesmith.data.rows import Conversation
from tunesmith.data.template import ROWS, Rendering
from tunesmith.data.tokenise import Recipe, Tokeniser
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError

__all__ = ["Dataset", "TooLong", "prepare"]


def prepare(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    *,
    max_tokens: int,
    too_long: TooLong = "refuse",
    rendering: Rendering = ROWS,
) -> Dataset:
    """Every conversation as ids and loss weights; raises FaultyData with all of their faults.

    Rows of more than ``max_tokens`` are refused, cut behind that many tokens, or dropped.
    """
    limit = Limit(max_tokens, too_long)
    made = Tokeniser(Recipe(tokenizer, max_tokens, rendering)).conversations(conversations)
    rest = limited(dataset_of([made.block], made.files), limit)
    book = FaultBook()
    book.merge(made.faults)
    book.merge(rest.faults)
    refuse(book.faults())
    if not len(rest.rows):
        problem = nothing_left(rest.long, limit)
        what = problem.message[0].upper() + problem.message[1:]
        raise DataError(what, remedy=problem.remedy, code=problem.code)
    return replace(rest.rows, notes=(*made.notes, *rest.notes))
