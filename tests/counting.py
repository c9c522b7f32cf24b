"""A phase that keeps what it was told, and is cancelled after some parts."""

import math

from tunesmith.core.progress import PhaseProgress, Progress


class Counting(PhaseProgress):
    """``told`` has what is done and of how much; the phase is cancelled after ``most`` parts."""

    def __init__(self, limit=math.inf):
        self.told = []
        super().__init__(Progress(cancelled=lambda: len(self.told) >= limit), "", None)

    def at(self, done, total=None):
        self.told.append((done, self._total if total is None else total))
        super().at(done, total)
