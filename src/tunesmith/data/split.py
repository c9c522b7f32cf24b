"""Rows held out for evaluation: by prompt, so that no question is on both sides."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from tunesmith.counts import many
from tunesmith.data.rows import Conversation
from tunesmith.errors import DataError


def hold_out(
    conversations: Sequence[Conversation], *, share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Rows to train on and rows to evaluate on, each in their old order.

    Rows whose prompts differ only in case and white space stay together, so the second list may
    hold a few rows less than ``share`` of them. The choice depends on prompts and seed, not on the
    order of rows. Raises DataError if one side would be empty.
    """
    assert 0 < share < 1
    clusters: dict[str, list[int]] = defaultdict(list)
    for i, conversation in enumerate(conversations):
        clusters[prompt_key(conversation)].append(i)
    if len(clusters) < 2:
        raise DataError(
            f"{many(len(conversations), 'row')} with {many(len(clusters), 'different prompt')} "
            "cannot be split into rows to train on and rows held out.",
            remedy="Add rows with other prompts, name a file with --data.eval FILE, or hold "
            "nothing out with --data.eval 0.",
            code="split",
        )
    wanted = min(max(1, round(share * len(conversations))), len(conversations) - 1)
    order = sorted(clusters, key=lambda key: _draw(key, seed))
    held: set[int] = set()
    for key in order:
        if len(held) + len(clusters[key]) <= wanted:
            held.update(clusters[key])
    if not held:
        held.update(clusters[min(order, key=lambda key: len(clusters[key]))])
    train = [row for i, row in enumerate(conversations) if i not in held]
    return train, [conversations[i] for i in sorted(held)]


def prompt_key(conversation: Conversation) -> str:
    """What is said before the first trained answer, or the text, case and white space folded."""
    until = min(conversation.supervised, default=0) or len(conversation.messages)
    said = (
        f"{message.role}: {' '.join(message.content.split()).casefold()}"
        for message in conversation.messages[:until]
    )
    return "\n".join(said)


def _draw(key: str, seed: int) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8, salt=seed.to_bytes(8, "little")).digest()
