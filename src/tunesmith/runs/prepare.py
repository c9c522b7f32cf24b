"""What a run trains: a base with its adapter, the rows, the questions, plan and position."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core.numbers import duration, pluralize
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.core.rank_help import SharedState, led
from tunesmith.core.rank_tasks import ask_for, helping
from tunesmith.core.rank_work import by_first, in_turn
from tunesmith.core.ranks import is_first, size
from tunesmith.data.dataset import RunRows
from tunesmith.engine import memory
from tunesmith.estimate.prediction import Prediction
from tunesmith.evaluation.answering import Respondent, fingerprint_now
from tunesmith.evaluation.evaluator import Evaluator
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.measures import KnownBase
from tunesmith.evaluation.training_answers import TrainingAnswers, training_answers
from tunesmith.methods import table
from tunesmith.runs import result
from tunesmith.runs.alike import require_alike
from tunesmith.runs.lock import lock_of, write_lock
from tunesmith.runs.retention import retention_of
from tunesmith.runs.row_notes import report_rows, with_caveats
from tunesmith.runs.rows import load_rows_for
from tunesmith.runs.started import StartedRun, with_length
from tunesmith.training import checkpoint, optimizer
from tunesmith.training.checkpoint import State
from tunesmith.training.job import (
    Job,
    Member,
    planned,
    ranks_at_work,
    reason_to_end,
    require_trained_routers,
)
from tunesmith.training.measure import make_plan, plan_beside
from tunesmith.training.retention import Retention
from tunesmith.training.steps import Plan

LoadRows = Callable[[RunConfig, LoadedBase, str | None, Progress], RunRows]

_PUT_BACK = "put back"  # a task of all ranks: the tensors of a checkpoint


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run with its adapter attached to a base, its rows read and its questions chosen."""

    run: StartedRun
    loaded: LoadedBase
    evaluator: Evaluator
    job: Job
    prediction: Prediction | None = None  # of its steps, by the base's shape
    answers: TrainingAnswers | None = None  # while it trains

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        config, lr = self.run.config, self.run.config.train.lr
        width = self.loaded.engine.config.hidden_size
        return table.learning_rate(config.method.kind, width) if lr == "auto" else lr

    def forgetting(self, probes: Sequence[str] | None = None) -> Forgetting:
        """What the adapter as it is now forgot, by some probes or all; only where there are any."""
        found = self.evaluator.forgetting(self.loaded, self.who, probes)
        assert found is not None
        return found

    @property
    def who(self) -> Respondent:
        """Who answers with the adapter as it is now."""
        now = fingerprint_now(self.loaded.base, self.job.adapter)
        return Respondent(self.job.name, now)

    @property
    def shared(self) -> SharedState:
        """What other ranks help to evaluate the adapter with, whatever is done to it here."""
        adapter = self.job.adapter
        tensors = tuple(adapter.parameters.values())
        return SharedState((self.loaded.engine, self.job), tensors, adapter.refresh)

    def put_back(self, folder: Path) -> None:
        """Give the adapter the tensors of a checkpoint; all ranks do where they hold parts."""
        if self.job.adapter.is_sharded:
            ask_for(_PUT_BACK, folder)
        _put_back(self.job, folder)


def _put_back(job: Job, folder: Path) -> None:
    checkpoint.put_back_(folder, job.adapter)
    job.adapter.refresh()


def prepare(
    run: StartedRun, base: KnownBase, *, name: str = "default", load: LoadRows = load_rows_for
) -> PreparedRun:
    """Attach the adapter under ``name``, read the rows, and let the base answer if it must.

    Runs over one base share what was measured of it. Raises RunError where ranks differ in the
    base, the data or the arithmetic.
    """
    config, progress, loaded = run.config, run.progress, base.loaded
    for note in loaded.base.notes:
        progress.notice("base", note)
    adapter = result.attach(loaded, config, name=name)
    require_trained_routers(config.train, loaded.engine, adapter)
    for code, text in result.notes_on_start(config, loaded, adapter):
        progress.notice(code, text)
    progress.phase("reading the data")
    rows = in_turn(lambda: load(config, loaded, name, progress))
    require_alike(config, loaded.base, rows)
    if is_first():
        rows = with_caveats(config, loaded, rows, name)
        report_rows(config, loaded, rows, name, progress)
    run = with_length(run, rows)
    config = run.config
    by_first(lambda: _record_origin(run, loaded, rows), patient=True)
    evaluator = in_turn(
        lambda: Evaluator(
            base,
            config,
            rows,
            progress=progress,
            virtual_tokens=loaded.engine.prefix_length(name),
            has_history=True,
        )
    )
    if not adapter.frozen_base:
        led(evaluator.answer_before, SharedState((loaded.engine,)))
    job = Job(
        engine=loaded.engine,
        adapter=adapter,
        rows=rows.train,
        held=rows.choosing,
        settings=config.train,
        folder=run.folder.path,
        copies=rows.copies,
        keep_plan=run.folder.write_plan,
        retention=_retained(run, base, rows, evaluator),
    )
    return _answering(PreparedRun(run, loaded, evaluator, job), rows)


def _retained(
    run: StartedRun, base: KnownBase, rows: RunRows, evaluator: Evaluator
) -> Retention | None:
    """What the steps to come retain; nothing where none comes."""
    if by_first(lambda: _has_ended(run)):
        return None
    return retention_of(run, base, rows, evaluator.probing)


def _has_ended(run: StartedRun) -> bool:
    """Whether a resumed run has done its last step."""
    plan, newest = run.folder.read_plan(), checkpoint.newest(run.folder.checkpoints)
    if plan is None or newest is None:
        return False
    return reason_to_end(checkpoint.read_state(newest), plan, run.config.train) is not None


def _answering(prepared: PreparedRun, rows: RunRows) -> PreparedRun:
    """The run, with training rows that are answered while it trains, where it asks for them."""
    job, config, progress = prepared.job, prepared.run.config, prepared.run.progress
    answers = in_turn(lambda: training_answers(prepared.loaded, config, rows, adapter=job.name))
    if answers is None:
        if config.train.answered_rows:
            progress.notice(
                "answers",
                "no training row is answered (train.answer_rows): nothing is held out, or no row "
                "has a question and an answer that passes the first check",
            )
        return prepared
    what = f"answering {pluralize(len(answers.questions), 'training row')}"

    def work() -> tuple[float | None, bool]:
        """The share, and whether it was cancelled."""
        try:
            return answers.passed(progress.quiet_phase(what, cancels=True)), False
        except Cancelled:
            return None, True
        except (RuntimeError, MemoryError) as error:
            if not memory.has_run_out(error):
                raise
        memory.release(job.engine.device)
        progress.notice(
            "answers", "no memory to answer training rows: here the held-out loss alone decides"
        )
        return None, False

    def passed() -> float | None:
        found, is_cancelled = led(work, prepared.shared)
        if is_cancelled:
            raise Cancelled
        return found

    return replace(prepared, job=replace(job, passed=passed), answers=answers)


def _record_origin(run: StartedRun, loaded: LoadedBase, rows: RunRows) -> None:
    """Write what the run starts from, and the lock: what of that its bytes depend on.

    Raises RunError for a resumed run with other rows or another base; what else differs is noticed.
    """
    base, config = loaded.base, run.config
    lock = lock_of(config, base.folder, device=base.device, dtype=base.dtype)
    for each in write_lock(run.folder, lock):
        run.progress.notice("differs", each.text())
    result.write_environment(run.folder.environment, base, config, rows)


def build_optimizer(prepared: PreparedRun) -> torch.optim.Optimizer:
    """The optimizer with its states, which are part of the memory that is measured."""
    settings = prepared.run.config.train
    return optimizer.build(
        prepared.job.adapter,
        lr=prepared.rate,
        weight_decay=settings.weight_decay,
        kind=settings.optimizer,
        averages=settings.average_window > 0,
    )


def member_of(
    prepared: PreparedRun,
    adam: torch.optim.Optimizer,
    *,
    beside: Plan | None = None,
    together: int = 0,
) -> Member:
    """What the loop trains: planned (by measuring, or as one that trains with it), restored.

    ``together``: tokens in a step of all that train together.
    """
    job, folder, progress = prepared.job, prepared.run.folder, prepared.run.progress
    plan = by_first(folder.read_plan)
    if plan is None:
        if beside is None:
            progress.phase("measuring memory and speed on the longest documents")
            plan = make_plan(job, lr=prepared.rate, together=together)
        else:
            plan = plan_beside(job, beside, lr=prepared.rate)
        folder.write_plan(plan)
    keep = min(job.settings.keep_checkpoints, math.ceil(plan.steps / job.settings.save_steps))
    where, tensors = folder.checkpoints, job.adapter.parameters
    by_first(lambda: checkpoint.require_room(where, tensors, adam, keep=keep))
    member = Member(job, plan, adam, _restored(prepared, adam, plan))
    if is_first():
        scales = table.scales_down(job.adapter)
        member.evaluation_seconds = prepared.evaluator.seconds_to_come(job.name, scales=scales)
        member.answering_seconds = prepared.answers.seconds() if prepared.answers else 0.0
    if member.over is not None:
        if (most := member.evaluation_seconds[1]) > 0:
            text = f"what is left is the evaluation: about {duration(most)} at most"
            progress.notice("evaluation", f"{text}, and less by what was scored before")
        return member
    progress.report(planned(member))
    if (busy := ranks_at_work(member)) < size():
        progress.notice(
            "idle_ranks",
            f"a step has work for {busy} of {size()} ranks: raise train.tokens_per_step or "
            "train.rows_per_step, or start fewer ranks",
        )
    return member


def _restored(prepared: PreparedRun, adam: torch.optim.Optimizer, plan: Plan) -> State:
    run, adapter = prepared.run, prepared.job.adapter
    if adapter.is_sharded:
        helping(_PUT_BACK, partial(_put_back, prepared.job))
    newest = by_first(lambda: checkpoint.newest(run.folder.checkpoints))
    state = State(step=0, tokens=0, train_loss=math.nan)
    if newest is not None:
        state, changed = checkpoint.restore_(newest, adapter.parameters, adam)
        adapter.refresh()
        last = ", the last one" if reason_to_end(state, plan, run.config.train) else ""
        run.progress.notice("resumed", f"resumed after step {state.step}{last}")
        if changed:
            run.progress.notice("not_exact", f"not exact because {'; '.join(changed)}")
    run.folder.cut(state.step)
    return state
