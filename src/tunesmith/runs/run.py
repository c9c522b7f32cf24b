"""One training run: prepare, answer before, train, choose, scale, save, evaluate."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch

from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import SILENT, Cancelled, Progress, finishing_first
from tunesmith.data.dataset import RunRows
from tunesmith.engine import memory
from tunesmith.evaluation.answering import Respondent, fingerprint, fingerprint_now
from tunesmith.evaluation.arms import require_evaluable
from tunesmith.evaluation.evaluator import Evaluator
from tunesmith.evaluation.findings import words_in
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.measures import KnownBase, Tuned
from tunesmith.evaluation.overfitting import choice_text
from tunesmith.methods import table
from tunesmith.runs import result
from tunesmith.runs.evaluated import inputs_sha256
from tunesmith.runs.evaluation_files import training_history, write_evaluation
from tunesmith.runs.folder import RunFolder, alone, with_folder
from tunesmith.runs.inputs import require_files
from tunesmith.runs.neighbours import announced
from tunesmith.runs.result import open_for
from tunesmith.runs.retention import retention_of
from tunesmith.runs.rows import load_rows_for, report_rows
from tunesmith.runs.selection import ChosenCheckpoint, choose_kept, find_scale, kept_checkpoints
from tunesmith.runs.started import StartedRun, begin, with_length
from tunesmith.runs.summary import RunSummary, complete_summary, write_summary
from tunesmith.training import checkpoint, optimizer
from tunesmith.training.checkpoint import State
from tunesmith.training.events import BestCheckpoint, ScaledDown
from tunesmith.training.job import Job, Member, planned
from tunesmith.training.loop import held_out_loss, train
from tunesmith.training.measure import make_plan, plan_beside
from tunesmith.training.steps import Plan

LoadRows = Callable[[RunConfig, LoadedBase, str | None, Progress], RunRows]


def train_run(config: RunConfig, *, progress: Progress = SILENT) -> RunSummary:
    """Run a new training; raises RunError where its folder holds another run.

    What is refused before a base is loaded writes nothing. Cancelled in training or after it, the
    run ends as `stopped`; before its first step Cancelled is raised. Either way it can be resumed.
    """
    require_evaluable(config)  # what is faulty is refused before anything is written
    require_files(config.data)  # so is a missing file
    config = with_folder(result.resolved(config))
    folder = RunFolder(Path(str(config.out)))
    folder.create(config.model_dump(mode="json", by_alias=True))
    with alone(folder.path):
        try:
            return _run(config, folder, progress)
        except TunesmithError as error:
            if error.code != "disk":  # whose remedy is to resume
                folder.discard_unless_begun()
            raise


def resume_run(path: Path, *, progress: Progress = SILENT) -> RunSummary:
    """Resume an interrupted run from its newest complete checkpoint.

    A complete one is left as it is, and its summary comes back.
    """
    folder = RunFolder(path)
    folder.require_run()
    config = folder.read_config()
    with alone(folder.path):
        files.sweep(folder.path)
        if (summary := complete_summary(folder, config)) is not None:
            progress.notice("complete", f"{path}: the run is complete; this is how it ended")
            return summary
        return _run(config, folder, progress)


def _run(config: RunConfig, folder: RunFolder, progress: Progress) -> RunSummary:
    """All steps, and a notice of other trainings on this machine."""
    run = begin(config, folder, progress)
    with announced(folder.path, device=config.device, threads=config.train.threads) as notice:
        if notice is not None:
            run.progress.report(notice)
        prepared = prepare(run, KnownBase(open_for(config, progress=run.progress)))
        member = member_of(prepared, build_optimizer(prepared))
        with finishing_first():
            for _, event in train([member], progress=run.progress):
                run.progress.report(event)
        if member.error is not None:
            raise member.error
        return finish(prepared, member)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run with its adapter attached to a base, its rows read and its questions chosen."""

    run: StartedRun
    loaded: LoadedBase
    evaluator: Evaluator
    job: Job

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

    def put_back(self, folder: Path) -> None:
        """Give the adapter the tensors of a checkpoint."""
        store.put_(self.job.adapter, checkpoint.tensors_of(folder))


def prepare(
    run: StartedRun, base: KnownBase, *, name: str = "default", load: LoadRows = load_rows_for
) -> PreparedRun:
    """Attach the adapter under ``name``, read the rows, and let the base answer if it must.

    Runs over one base share what was measured of it.
    """
    config, progress, loaded = run.config, run.progress, base.loaded
    for note in loaded.base.notes:
        progress.notice("base", note)
    adapter = result.attach(loaded, config, name=name)
    for code, text in result.notes_on_start(config, loaded, adapter):
        progress.notice(code, text)
    progress.phase("reading the data")
    rows = load(config, loaded, name, progress)
    report_rows(config, loaded, rows, name, progress)
    run = with_length(run, rows)
    config = run.config
    result.write_environment(run.folder.environment, loaded.base, config, rows)
    evaluator = Evaluator(
        base,
        config,
        rows,
        progress=progress,
        virtual_tokens=loaded.engine.prefix_length(name),
        has_history=True,
    )
    if not adapter.frozen_base:
        evaluator.answer_before()
    job = Job(
        engine=loaded.engine,
        adapter=adapter,
        rows=rows.train,
        held=rows.held,
        settings=config.train,
        folder=run.folder.path,
        copies=rows.copies,
        keep_plan=run.folder.write_plan,
        retention=retention_of(run, base, rows, evaluator.probing),
    )
    return PreparedRun(run, loaded, evaluator, job)


def build_optimizer(prepared: PreparedRun) -> torch.optim.Optimizer:
    """The optimizer with its states, which are part of the memory that is measured."""
    settings = prepared.run.config.train
    return optimizer.build(
        prepared.job.adapter,
        lr=prepared.rate,
        weight_decay=settings.weight_decay,
        kind=settings.optimizer,
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
    plan = folder.read_plan()
    if plan is None:
        if beside is None:
            progress.phase("measuring memory and speed on the longest documents")
            plan = make_plan(job, lr=prepared.rate, together=together)
        else:
            plan = plan_beside(job, beside, lr=prepared.rate)
        folder.write_plan(plan)
    keep = min(job.settings.keep_checkpoints, math.ceil(plan.steps / job.settings.save_steps))
    checkpoint.require_room(folder.checkpoints, job.adapter.parameters, adam, keep=keep)
    state = _restored(prepared, adam)
    scales = table.scales_down(job.adapter)
    seconds = prepared.evaluator.seconds_to_come(job.name, scales=scales)
    member = Member(job, plan, adam, state, evaluation_seconds=seconds)
    progress.report(planned(member))
    return member


def _restored(prepared: PreparedRun, adam: torch.optim.Optimizer) -> State:
    run, adapter = prepared.run, prepared.job.adapter
    newest = checkpoint.newest(run.folder.checkpoints)
    state = State(step=0, tokens=0, train_loss=math.nan)
    if newest is not None:
        state, changed = checkpoint.restore_(newest, adapter.parameters, adam)
        adapter.refresh()
        run.progress.notice("resumed", f"resumed after step {state.step}")
        if changed:
            run.progress.notice("not_exact", f"not exact because {'; '.join(changed)}")
    run.folder.cut(state.step)
    return state


def finish(prepared: PreparedRun, member: Member) -> RunSummary:
    """Save the result, evaluate it, write the summary; a stopped run only writes the summary.

    A cancel stops the run too: its adapter is saved as training left it, or as it was chosen,
    and what was answered is known when it is resumed.
    """
    assert member.ended is not None
    run, job, evaluator, state = prepared.run, prepared.job, prepared.evaluator, member.state
    reason, saved, found = member.ended.reason, None, None
    forgetting: Forgetting | None = None
    eval_loss = next(reversed(run.folder.held_out_losses().values()), None)
    if reason != "stopped":
        member.end_training()
        try:
            chosen = _choose(prepared, state)
            eval_loss = -chosen.choice.best.score if chosen else eval_loss
            forgetting = _scale_down(prepared, chosen.forgetting if chosen else None)
            eval_loss = _loss_now(prepared, member, known=eval_loss)
        except Cancelled:
            reason = "stopped"
        saved = result.save(run.folder, prepared.loaded, job.adapter, run.config)
    if saved is not None and reason != "stopped":
        try:
            found = evaluator.evaluate(_tuned(prepared, saved, state, forgetting))
            inputs = inputs_sha256(run.folder.read_config(), run.folder)
            write_evaluation(found, run.folder, inputs=inputs)
        except Cancelled:
            reason = "stopped"
    summary = RunSummary(
        run=str(run.folder.path),
        adapter=str(saved) if saved else None,
        steps=state.step,
        tokens=state.tokens,
        train_loss=state.train_loss,
        eval_loss=eval_loss,
        tokens_per_second=state.tokens_per_second,
        peak_bytes=max(memory.peak_bytes(job.engine.device), run.folder.peak_bytes()),
        seconds=time.perf_counter() - run.start + member.earlier_seconds,
        evaluation=found.document if found else None,
        reason=reason,
        notices=tuple(run.notices),
        answers=found.answers if found else None,
        train_losses=found.train_losses if found else None,
    )
    write_summary(run.folder, summary)
    return summary


def _loss_now(prepared: PreparedRun, member: Member, *, known: float | None) -> float | None:
    """The held-out loss of the result, which is the ``known`` one unless it was scaled down."""
    job, run = prepared.job, prepared.run
    if job.held is None or not run.folder.is_scaled_down:
        return known
    tokens = member.plan.tokens_per_micro_batch
    return held_out_loss(job, job.held, tokens=tokens, progress=run.progress)


def _choose(prepared: PreparedRun, state: State) -> ChosenCheckpoint | None:
    """The best checkpoint, put into the adapter; None where there is no choice.

    A cancel in between leaves the adapter as training left it.
    """

    probing, progress = prepared.evaluator.probing, prepared.run.progress

    def forgotten(folder: Path, by_all: bool) -> Forgetting:
        prepared.put_back(folder)
        return prepared.forgetting(None if by_all or probing is None else probing.texts)

    kept = kept_checkpoints(prepared.run.folder, state.best_step)
    try:
        chosen = choose_kept(kept, forgotten if probing and probing.texts else None)
    except Cancelled:
        prepared.put_back(kept[-1].folder)
        raise
    if chosen is not None:
        prepared.put_back(chosen.folder)
        progress.report(BestCheckpoint(**chosen.choice.to_json()))
        if chosen.choice.reason != "last":
            progress.notice("best", choice_text(chosen.choice, words_in()))
    return chosen


def _scale_down(prepared: PreparedRun, forgetting: Forgetting | None) -> Forgetting | None:
    """Let the adapter forget no more than is allowed, where it can; what it forgot now."""
    config, progress = prepared.run.config, prepared.run.progress
    wanted = config.evaluate.forgetting
    if not prepared.evaluator.probing or wanted is None or wanted.scale == "none":
        return forgetting

    # full fine-tuning changed the weights that are in memory
    start = cache(partial(result.base_weights, config, prepared.loaded.base, progress=progress))
    found = find_scale(
        prepared.job.adapter,
        start,
        score=lambda: prepared.evaluator.first_score(prepared.loaded, prepared.who),
        forget=prepared.forgetting,
        allowed=wanted.accuracy_points / 100,
        full=forgetting,
    )
    if found is not None and (scale := found.scale) is not None:
        progress.report(ScaledDown(**asdict(scale)))
        progress.notice("strength", scale.text())
    return found.forgetting if found else forgetting


def _tuned(
    prepared: PreparedRun, saved: Path, state: State, forgetting: Forgetting | None
) -> Tuned:
    """What was trained, saved in this folder."""
    speed = state.tokens_per_second
    seconds = state.tokens / speed if speed else None
    participant = fingerprint(prepared.loaded.base, prepared.job.adapter, saved)
    folder, method = prepared.run.folder, prepared.run.config.method
    width = prepared.loaded.engine.config.hidden_size
    history = training_history(folder, method, width=width)
    return Tuned(prepared.loaded, prepared.job.name, participant, seconds, forgetting, history)
