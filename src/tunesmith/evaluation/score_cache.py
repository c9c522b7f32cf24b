"""What a model answered and computed, kept in the cache: nothing complete is computed again."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.files import replace_text
from tunesmith.models.cache import cache_root

FORMAT = 1  # raised when a score computes something else
Scores = NDArray[np.float64]
Computed = Scores | NDArray[np.float32]


def kept_in(kind: str, name: str) -> Path:
    """The file of the cache for what is kept under this name."""
    return cache_root() / kind / f"{name}.jsonl"


def lines_of(path: Path) -> Iterator[Mapping[str, object]]:
    """Every complete line that is a JSON object; a damaged one counts as not there."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def add_line(path: Path, value: Mapping[str, object]) -> None:
    """Append a line at once; where the cache cannot be written, only time is lost."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(f"\n{json.dumps(value)}\n".encode())  # after what a kill left of another


def name_of(*value: object) -> str:
    """A hash of values that JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


@dataclass(slots=True)
class ScoreCache:
    """Numbers that some participants' scores are, by the name of what was scored.

    A line is written when a batch is scored: whatever kills the process, complete ones stay.
    Without a ``path`` nothing is kept.
    """

    path: Path | None = None
    _known: dict[str, Scores] = field(default_factory=dict)

    def known(self, name: str) -> bool:
        """Whether these scores are kept."""
        return name in self._known

    def scored(self, name: str, compute: Callable[[], Sequence[float] | Computed]) -> Scores:
        """The scores of this name, computed where they are not known."""
        found = self._known.get(name)
        return self._keep(name, compute()) if found is None else found

    def all_scored(
        self,
        names: Sequence[str],
        compute: Callable[[list[int]], Iterator[Sequence[float] | Computed]],
    ) -> Iterator[Scores]:
        """The scores of each name, in order; ``compute`` gives those at some places, one by one."""
        places = [place for place, name in enumerate(names) if name not in self._known]
        missing, made = set(places), compute(places)
        for place, name in enumerate(names):
            yield self._keep(name, next(made)) if place in missing else self._known[name]

    def _keep(self, name: str, computed: Sequence[float] | Computed) -> Scores:
        scores = np.asarray(computed, dtype=np.float64)
        if self.path is not None:
            self._known[name] = scores
            data = base64.b64encode(scores.astype("<f8").tobytes()).decode()
            add_line(self.path, {"name": name, "scores": data})
        return scores


NOTHING_KEPT = ScoreCache()


def _file_of(participants: Sequence[str]) -> Path:
    return kept_in("scores", name_of(FORMAT, participants))


def carry_scores(before: str, after: str) -> None:
    """What was scored of an adapter in memory counts for it as it was saved."""
    source, target = _file_of([before]), _file_of([after])
    if source != target and source.is_file() and not target.exists():
        with contextlib.suppress(OSError):
            replace_text(target, source.read_text(encoding="utf-8"))


def open_scores(*participants: str) -> ScoreCache:
    """The scores of participants (``answering.fingerprint``) that were computed together."""
    path = _file_of(participants)
    known = {}
    for line in lines_of(path):
        with contextlib.suppress(ValueError, KeyError):
            data = base64.b64decode(str(line["scores"]), validate=True)
            known[str(line["name"])] = np.frombuffer(data, dtype="<f8")
    return ScoreCache(path, known)
