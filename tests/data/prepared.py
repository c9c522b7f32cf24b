"""Conversations in memory as a data set, as a run makes one of a file."""

from collections.abc import Iterable
from dataclasses import replace

from tunesmith.core.errors import DataError
from tunesmith.data.dataset import Dataset, Limit, Overflow, dataset_of, limited, nothing_left
from tunesmith.data.faults import RowReport, refuse
from tunesmith.data.rows import Conversation
from tunesmith.data.template import ROWS, Rendering
from tunesmith.data.tokenize import ChunkTokenizer, Recipe
from tunesmith.data.tokenizer import Tokenizer


def prepare(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    *,
    max_tokens: int,
    overflow: Overflow = "error",
    rendering: Rendering = ROWS,
) -> Dataset:
    """Every conversation as ids and loss weights; raises FaultyData with all of their faults."""
    limit = Limit(max_tokens, overflow)
    made = ChunkTokenizer(Recipe(tokenizer, max_tokens, rendering)).conversations(conversations)
    rest = limited(dataset_of([made.block], made.files), limit)
    report = RowReport()
    report.merge(made.faults)
    report.merge(rest.faults)
    refuse(report.faults)
    if not len(rest.rows):
        problem = nothing_left(rest.long, limit)
        raise DataError(problem.message, remedy=problem.remedy, code=problem.code)
    return replace(rest.rows, notes=(*made.notes, *rest.notes))
