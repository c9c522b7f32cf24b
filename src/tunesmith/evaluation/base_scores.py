"""A base's scores of probes, computed once: kept in the cache, and brought with the package for the
default base (`python -m benchmarks.methods.base_scores`).

In 16 bits a score depends a little on the stream that it is computed in, so that base and tuned are
scored in the same one there; float32 scores are kept.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import torch

from tunesmith.evaluation.likelihoods import Logs, ScoredSpan
from tunesmith.evaluation.score_cache import NOTHING_KEPT, ScoreCache, name_of, open_scores
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.load import Base
from tunesmith.models.supported import is_four_bit

BROUGHT = "base_scores.json"


class BaseScores:
    """The scores of a base, by the spans that are scored."""

    def __init__(self, base: Base, fingerprint: str) -> None:
        """``fingerprint`` is the hash of the base with its number format (`answering`)."""
        self.is_kept = base.dtype == torch.float32 and not is_four_bit(base.model.config)
        self._cache = open_scores("base", fingerprint) if self.is_kept else NOTHING_KEPT
        is_cpu = self.is_kept and base.device.type == "cpu"
        self._brought = brought(hash_folder(base.folder)[COMBINED]) if is_cpu else {}

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
        if self.is_kept and self.of(spans) is None:
            cache: ScoreCache = self._cache
            cache.scored(name_of_spans(spans), lambda: np.concatenate(logs))


def name_of_spans(spans: Sequence[ScoredSpan]) -> str:
    """Of what is scored, whatever else is in the stream."""
    return name_of("base", [(span.ids, span.scored) for span in spans])


def brought(base_sha256: str) -> Mapping[str, Logs]:
    """What the package has of this base."""
    text = (files(__package__) / BROUGHT).read_text(encoding="utf-8")
    found: Mapping[str, str] = json.loads(text).get(base_sha256, {})
    return {name: np.frombuffer(base64.b64decode(data), "<f4") for name, data in found.items()}


def packed(logs: Sequence[Logs]) -> str:
    """Scores as the package brings them."""
    return base64.b64encode(np.concatenate(logs).astype("<f4").tobytes()).decode()
