"""A search as its folder has it: what it began with, each setting, how far it came, and the best.

It is written at every decision, so that a kill loses steps and no decision.
"""

import contextlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from tunesmith.config.load import run_config
from tunesmith.config.run import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import RunError
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.runs.folder import LOCK, RunFolder
from tunesmith.runs.inputs import SEARCH
from tunesmith.runs.summary import RunSummary
from tunesmith.studies.compared import score_of
from tunesmith.studies.search_space import Space, Values, space_json, space_of, with_values

BEST = "best.yaml"


@dataclass(slots=True)
class TriedSetting:
    """One setting: its values, its held-out losses by step, and what became of it.

    ``at``: the step at the last decision. ``passed``: the rungs at which it was among the better
    half. ``score``: of the first check, on
    the rows that choose.
    """

    name: str
    values: Values
    state: Literal["running", "stopped", "done", "failed"] = "running"
    losses: dict[int, float] = field(default_factory=dict)
    at: int = 0
    passed: list[int] = field(default_factory=list)
    score: float | None = None
    why: str | None = None

    @property
    def loss(self) -> float:
        """The lowest so far; infinite without one."""
        finite = [loss for loss in self.losses.values() if math.isfinite(loss)]
        return min(finite, default=math.inf)

    @property
    def step(self) -> int:
        """The step of its last loss."""
        return max(self.losses, default=0)


@dataclass(slots=True)
class SearchState:
    """``config`` is what all settings have in common. ``most``: settings at most, as asked;
    ``count``: those that fit in ``minutes``, None before the speed is known. ``steps`` of a whole
    run and ``every`` how many a loss is measured, 0 before the rows are read.
    """

    out: Path
    config: RunConfig
    minutes: float
    most: int | None = None
    space: Space = field(default_factory=dict)
    count: int | None = None
    steps: int = 0
    every: int = 0
    seconds: float = 0.0
    rows: tuple[int, int] = (0, 0)  # that choose, and that are scored
    trials: list[TriedSetting] = field(default_factory=list)
    best: str | None = None
    summary: RunSummary | None = None

    def folder(self, trial: TriedSetting) -> RunFolder:
        """The run of a setting."""
        return RunFolder(self.out / trial.name)

    def config_of(self, trial: TriedSetting) -> RunConfig:
        """What a setting trains by."""
        made = with_values(self.config, trial.values)
        return made.model_copy(update={"out": str(self.folder(trial).path)})

    @property
    def leader(self) -> TriedSetting | None:
        """The best so far: chosen, or by loss of those that came furthest."""
        known = [trial for trial in self.trials if trial.losses]
        if self.best is not None:
            return next(trial for trial in self.trials if trial.name == self.best)
        return min(known, key=lambda t: (t.state != "done", -t.step, t.loss), default=None)

    def drop_checkpoints(self, trial: TriedSetting) -> None:
        """Free the disk of what a setting needed to resume."""
        shutil.rmtree(self.folder(trial).checkpoints, ignore_errors=True)

    def discard_unless_begun(self) -> None:
        """Remove a search that was refused before a step was saved: there is nothing to resume.

        What else lies in its folder is left.
        """
        if any(self.folder(trial).checkpoints.exists() for trial in self.trials):
            return
        for trial in self.trials:
            shutil.rmtree(self.folder(trial).path, ignore_errors=True)
        for name in (SEARCH, BEST, LOCK):
            (self.out / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where something else lies in it
            self.out.rmdir()

    def save(self) -> None:
        """Keep all of it, and the best config so far."""
        config = self.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
        values = {name: getattr(self, name) for name in ("minutes", "most", "count", "steps")}
        values |= {"every": self.every, "seconds": self.seconds, "rows": list(self.rows)}
        trials = [asdict(trial) for trial in self.trials]
        kept = {**values, "config": config, "space": space_json(self.space), "trials": trials}
        files.write_json(self.out / SEARCH, {**kept, "best": self.best, "found": self.to_json()})
        if (leader := self.leader) is not None:
            files.write_text(self.out / BEST, self._best_text(leader))

    def _best_text(self, leader: TriedSetting) -> str:
        """The config of the best setting, what it rests on above it."""
        made = self.config_of(leader).model_copy(update={"out": None})
        stage = f"{len(self.trials)} settings" if self.best else "so far, as it was not finished"
        evidence = [f"# {leader.name}, the best of a search ({stage})."]
        evidence.append(f"# Held-out loss on the rows that choose: {leader.loss:.4f}")
        found = self.to_json()["score"]
        assert isinstance(found, Mapping)
        if found["score"] is not None:
            low, high = found["low"], found["high"]
            evidence.append(
                f"# Score of the rows that the search never saw: {found['score']:.3f} "
                f"({low:.3f} to {high:.3f})"
            )
        plain = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
        plain.pop("out", None)
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        return "\n".join([*evidence, text])

    def to_json(self) -> dict[str, object]:
        """The documented document."""
        evaluation = self.summary.evaluation if self.summary else None
        leader = self.leader
        return {
            "out": str(self.out),
            "minutes": self.minutes,
            "seconds": self.seconds,
            "steps": self.steps,
            "is_finished": self.summary is not None,
            "settings": [self._row(trial) for trial in self.trials],
            "best": None if leader is None else leader.name,
            "config": str(self.out / BEST),
            "choosing_rows": self.rows[0],
            "scored_rows": self.rows[1],
            "score": score_of(evaluation, TUNED),
            "base": score_of(evaluation, BASE),
            "adapter": self.summary.adapter if self.summary else None,
            "evaluation": evaluation,
        }

    def _row(self, trial: TriedSetting) -> dict[str, object]:
        loss = trial.loss if math.isfinite(trial.loss) else None
        return {
            "name": trial.name,
            "values": dict(trial.values),
            "state": trial.state,
            "steps": trial.step,
            "eval_loss": loss,
            "score": trial.score,
            "run": str(self.folder(trial).path),
            "error": trial.why,
        }


def read_search(out: Path) -> SearchState:
    """A search as far as it came; raises RunError where there is none, or it is damaged."""
    try:
        kept = json.loads((out / SEARCH).read_text(encoding="utf-8"))
        config = run_config(kept["config"], path=out / SEARCH, flags={})
        space = space_of(kept["space"])
        trials = [_trial(values) for values in kept["trials"]]
        names = ("minutes", "most", "count", "steps", "every", "seconds", "best")
        values = {name: kept[name] for name in names}
        rows = (int(kept["rows"][0]), int(kept["rows"][1]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = "cannot be read" if (out / SEARCH).exists() else "is missing"
        raise RunError(
            f"{out} holds no search: {SEARCH} {why}.",
            remedy="Name the folder that `tunesmith search` wrote.",
        ) from error
    return SearchState(out, config, space=space, trials=trials, rows=rows, **values)


def _trial(values: dict[str, object]) -> TriedSetting:
    losses, given = values.pop("losses"), values.pop("values")
    assert isinstance(losses, dict)
    assert isinstance(given, dict)
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    by_step = {int(step): float(loss) for step, loss in losses.items()}
    return TriedSetting(values=plain, losses=by_step, **values)  # type: ignore[arg-type]
