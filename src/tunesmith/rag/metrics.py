"""How well a ranking finds what is relevant: recall@k, reciprocal rank, nDCG@k."""

import math
from collections.abc import Collection, Iterable, Sequence


def recall_at(k: int, ranking: Sequence[str], relevant: Collection[str]) -> float:
    """The share of what is relevant among the first ``k``."""
    return len(set(ranking[:k]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """1 / the rank of the first that is relevant, 0 where none is."""
    return next((1 / rank for rank, each in enumerate(ranking, 1) if each in relevant), 0.0)


def ndcg_at(k: int, ranking: Sequence[str], relevant: Collection[str]) -> float:
    """Discounted gain over that of the best order: sum of 1 / log2(1 + rank), all gains 1.

    Jaervelin and Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    ranks = (rank for rank, each in enumerate(ranking[:k], 1) if each in relevant)
    return _gain(ranks) / _gain(range(1, min(k, len(relevant)) + 1))


def _gain(ranks: Iterable[int]) -> float:
    return sum(1 / math.log2(1 + rank) for rank in ranks)
