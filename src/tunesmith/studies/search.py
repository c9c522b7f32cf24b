"""Which settings are best within a time? Adapters of several train together over one base.

Where they have done an eighth, a quarter and half of their steps the worse half stops, and new
settings take their place. Those that train to their end are asked the rows that choose; the best
of them is scored on the others.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.progress import TOGETHER, Cancelled
from tunesmith.evaluation.measures import KnownBase
from tunesmith.runs.folder import RUNNING, alone
from tunesmith.runs.model_choice import with_model
from tunesmith.runs.neighbours import announced
from tunesmith.runs.result import open_for
from tunesmith.runs.run import finish
from tunesmith.runs.summary import RunSummary, complete_summary
from tunesmith.studies.compare import ProgressOf, silent
from tunesmith.studies.search_group import SearchGroup
from tunesmith.studies.search_space import read_space
from tunesmith.studies.search_start import require_searchable, with_validation
from tunesmith.studies.search_state import SearchState, TriedSetting, read_search
from tunesmith.studies.searcher import optuna
from tunesmith.training import checkpoint

FINALISTS = 3  # that are asked the rows that choose


def search_settings(
    config: RunConfig,
    out: Path,
    progress_of: ProgressOf = silent,
    *,
    over: Mapping[str, object] | None = None,
    minutes: float = 30.0,
    most: int | None = None,
) -> SearchState:
    """Search for the best settings of a run for about so many ``minutes``, its evaluation included.

    ``over``: what is varied; without it the rate, and what the method's table lists. ``most``:
    settings at most. Raises ConfigError or DataError for what cannot be searched, Cancelled with
    the search so far in ``result`` where that is asked for; ``resume_search`` resumes it.
    """
    require_searchable(config, out, minutes=minutes, most=most)
    optuna()
    config = with_validation(config)
    space = read_space(over or {}, config)
    config = with_model(config, progress=progress_of(TOGETHER))
    out.mkdir(parents=True, exist_ok=True)
    state = SearchState(out, config, minutes, most, space)
    try:
        return _run(state, progress_of)
    except TunesmithError as error:
        if error.code != RUNNING:  # else the folder is another process's
            state.discard_unless_begun()
        raise


def resume_search(out: Path, progress_of: ProgressOf = silent) -> SearchState:
    """Resume an interrupted search; one that is finished comes back as it is."""
    optuna()
    return _run(read_search(out), progress_of)


def _run(state: SearchState, progress_of: ProgressOf) -> SearchState:
    config, together = state.config, progress_of(TOGETHER)
    if (done := _finished(state)) is not None:
        state.summary = done
        return state
    with alone(state.out):
        state.save()
        others = announced(state.out, device=config.device, threads=config.train.threads)
        with others as notice:
            if notice is not None:
                together.report(notice)
            group = SearchGroup(state, KnownBase(open_for(config, progress=together)), progress_of)
            try:
                group.set_up()
                group.train()
                _judge(group, _choose(group))
            except Cancelled:
                raise Cancelled("", state) from None
            finally:
                group.save()
    return state


def _finished(state: SearchState) -> RunSummary | None:
    """How the best ended, where nothing is left to do."""
    leader = state.leader
    if state.best is None or leader is None:
        return None
    return complete_summary(state.folder(leader), state.config_of(leader))


def _choose(group: SearchGroup) -> TriedSetting:
    """The best of those that trained to their end: by the first check on the rows that choose,
    else by the loss on them.
    """
    ends = sorted((t for t in group.state.trials if t.state == "done"), key=lambda t: t.loss)
    if not ends:
        why = next((trial.why for trial in group.state.trials if trial.why), "")
        raise RunError(
            f"No setting trained to its end: {why}", remedy="Search lower rates: --over."
        )
    best = ends[:FINALISTS]
    for trial in best if len(best) > 1 and group.state.best is None else ():
        trial.score = _score(group, trial)
        group.save()
    chosen = max(best, key=lambda trial: (_known(trial.score), -trial.loss))
    group.state.best = chosen.name
    group.save()
    return chosen


def _score(group: SearchGroup, trial: TriedSetting) -> float | None:
    """Of the tensors with the lowest loss; None without checks."""
    prepared = group.attached(trial)
    if not prepared.evaluator.questions:
        return None
    prepared.put_back(prepared.run.folder.checkpoints / checkpoint.BEST)
    score = prepared.evaluator.first_score(prepared.loaded, prepared.who)
    newest = checkpoint.newest(prepared.run.folder.checkpoints)
    assert newest is not None
    prepared.put_back(newest)
    return score if math.isfinite(score) else None


def _judge(group: SearchGroup, trial: TriedSetting) -> None:
    """Save and evaluate the best on the rows that the search never saw."""
    prepared = group.attached(trial)
    for other in [t for t in group.state.trials if t.name != trial.name]:
        group.release(other)
    summary = finish(prepared, group.members[trial.name])
    if summary.reason == "stopped":
        raise Cancelled
    group.state.summary = summary


def _known(score: float | None) -> float:
    return -math.inf if score is None else score
