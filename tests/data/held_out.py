"""Rows of a list that are held out, as a run holds them out."""

from collections.abc import Sequence

from tunesmith.data.faults import Note
from tunesmith.data.rows import Conversation
from tunesmith.data.split import Prompts, choose_held


def split_rows(
    conversations: Sequence[Conversation], *, share: float, seed: int
) -> tuple[list[Conversation], list[Conversation], tuple[Note, ...]]:
    """The rows to train on, those to evaluate on, and what was not kept together."""
    prompts = Prompts()
    for conversation in conversations:
        prompts.observe(conversation)
    held, groups = choose_held(prompts.groups(), share=share, seed=seed)
    sides: tuple[list[Conversation], list[Conversation]] = [], []
    for conversation, out in zip(conversations, held.tolist(), strict=True):
        sides[out].append(conversation)
    return *sides, groups.notes


def hold_out(
    conversations: Sequence[Conversation], *, share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """The rows to train on, and those to evaluate on."""
    return split_rows(conversations, share=share, seed=seed)[:2]
