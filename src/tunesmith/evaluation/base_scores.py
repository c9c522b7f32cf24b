"""A base's scores of probes, computed once: kept in the cache, and brought with the package for the
default base (`python -m benchmarks.methods.base_scores`).

In 16 bits a score depends a little on the stream that it is computed in. Each arm is scored alone,
so that both have the same streams; on another processor the scores that the package brings differ
by that much.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import torch

from tunesmith.evaluation.likelihoods import Logs, ScoredSpan
from tunesmith.evaluation.score_cache import name_of, open_scores
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.load import Base
from tunesmith.models.supported import is_four_bit

BROUGHT = "base_scores.json"


class BaseScores:
    """The scores of a base, by the spans that are scored."""

    def __init__(self, base: Base, fingerprint: str) -> None:
        """``fingerprint`` is the hash of the base with its number format (`answering`)."""
        self._cache = open_scores("base", fingerprint)
        is_plain = base.device.type == "cpu" and not is_four_bit(base.model.config)
        known = brought(hash_folder(base.folder)[COMBINED], base.dtype) if is_plain else {}
        self._brought = known

    def of(self, spans: Sequence[ScoredSpan]) -> list[Logs] | None:
        """The log-likelihoods of each span, where all are known."""
        name = name_of_spans(spans)
        if self._cache.known(name):
            flat = self._cache.scored(name, list).astype(np.float32)
        elif name in self._brought:
            flat = self._brought[name]
        else:
            return None
        lengths = [len(span.ids) - span.scored for span in spans]
        return np.split(flat, np.cumsum(lengths)[:-1]) if sum(lengths) == len(flat) else None

    def keep(self, spans: Sequence[ScoredSpan], logs: Sequence[Logs]) -> None:
        """Remember what was computed."""
        if self.of(spans) is None:
            self._cache.scored(name_of_spans(spans), lambda: np.concatenate(logs))


def name_of_spans(spans: Sequence[ScoredSpan]) -> str:
    """Of what is scored, whatever else is in the stream."""
    return name_of("base", [(span.ids, span.scored) for span in spans])


def brought(base_sha256: str, dtype: torch.dtype) -> Mapping[str, Logs]:
    """What the package has of this base in this number format."""
    text = (files(__package__) / BROUGHT).read_text(encoding="utf-8")
    found: Mapping[str, str] = json.loads(text).get(base_sha256, {}).get(str(dtype), {})
    return {name: np.frombuffer(base64.b64decode(data), "<f4") for name, data in found.items()}


def packed(logs: Sequence[Logs]) -> str:
    """Scores as the package brings them."""
    return base64.b64encode(np.concatenate(logs).astype("<f4").tobytes()).decode()
