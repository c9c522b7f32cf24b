"""One training run: prepare, answer before, train, choose, scale, save, evaluate."""

import time
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import SILENT, Cancelled, Progress, finishing_first
from tunesmith.core.rank_help import led
from tunesmith.core.rank_work import by_first
from tunesmith.core.ranks import is_first
from tunesmith.engine import memory
from tunesmith.evaluation.answering import fingerprint, fingerprint_now
from tunesmith.evaluation.evaluator import require_evaluable
from tunesmith.evaluation.findings import words_in
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.measures import KnownBase, Tuned
from tunesmith.evaluation.overfitting import choice_text
from tunesmith.evaluation.score_cache import carry_scores
from tunesmith.evaluation.training_answers import require_answerable
from tunesmith.runs import mirror, result
from tunesmith.runs.evaluated import inputs_of
from tunesmith.runs.evaluation_files import training_history, write_evaluation
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.runs.inputs import require_files
from tunesmith.runs.neighbours import announced
from tunesmith.runs.own_folder import begun_before, with_folder
from tunesmith.runs.predicted import compared, predicted
from tunesmith.runs.prepare import PreparedRun, build_optimizer, member_of, prepare
from tunesmith.runs.selection import (
    ChosenCheckpoint,
    choose_kept,
    find_scale,
    kept_checkpoints,
    sign_text,
)
from tunesmith.runs.sharding import open_for_ranks, require_ranks
from tunesmith.runs.started import begin
from tunesmith.runs.summary import (
    RunSummary,
    complete_summary,
    stopped_seconds,
    write_summary,
)
from tunesmith.training.checkpoint import State
from tunesmith.training.events import BestCheckpoint, ScaledDown
from tunesmith.training.held_out import held_out_loss
from tunesmith.training.job import Member
from tunesmith.training.loop import train
from tunesmith.training.steps import Plan


def train_run(
    config: RunConfig, *, plan: Plan | None = None, progress: Progress = SILENT
) -> RunSummary:
    """Run a new training; raises RunError where its folder holds another run.

    ``plan``: of a run that is repeated, so that nothing is measured that decides arithmetic.
    What is refused before a base is loaded writes nothing. Cancelled in training or after it, the
    run ends as `stopped`; before its first step Cancelled is raised. Either way it can be resumed.
    Ranks that torchrun started once more resume what they had begun.
    """
    if (begun := by_first(lambda: begun_before(config))) is not None:
        return resume_run(begun, progress=progress)
    config = by_first(lambda: _created(config))
    folder = RunFolder(Path(str(config.out)))
    if plan is not None:
        folder.write_plan(plan)
    with alone(folder.path):
        try:
            return _run(config, folder, progress)
        except TunesmithError as error:
            if is_first() and error.code != "disk" and not folder.is_begun:  # else it can resume
                mirror.withdraw(config, folder.path)
                folder.discard()
            raise


def _created(config: RunConfig) -> RunConfig:
    """The config of a run whose folder is made now."""
    require_ranks(config)
    require_answerable(config)
    require_evaluable(config)  # what is faulty is refused before anything is written
    require_files(config.data)  # so is a missing file
    config = result.resolved(config)
    mirror.require_free(config)
    config = with_folder(config)
    RunFolder(Path(str(config.out))).create(config.model_dump(mode="json", by_alias=True))
    return config


def resume_run(path: Path, *, progress: Progress = SILENT) -> RunSummary:
    """Resume an interrupted run from its newest complete checkpoint.

    A complete one is left as it is, and its summary comes back.
    """
    folder = RunFolder(path)

    def opened() -> tuple[RunConfig, RunSummary | None]:
        config = folder.read_config()
        files.sweep(folder.path)
        return config, complete_summary(folder, config)

    by_first(folder.require_run)
    with alone(folder.path):
        config, summary = by_first(opened)
        if summary is not None:
            progress.notice("complete", f"{path}: the run is complete; this is how it ended")
            return summary
        return _run(config, folder, progress)


def _run(config: RunConfig, folder: RunFolder, progress: Progress) -> RunSummary:
    """All steps, and a notice of other trainings on this machine."""
    run = begin(config, folder, progress)
    with announced(folder.path, device=config.device, threads=config.train.threads) as notice:
        if notice is not None:
            run.progress.report(notice)
        loaded = open_for_ranks(config, progress=run.progress)
        prepared = prepare(run, KnownBase(loaded))
        member = member_of(prepared, build_optimizer(prepared))
        prepared = predicted(prepared, member)
        with finishing_first():
            for _, event in train([member], progress=run.progress):
                run.progress.report(event)
        if member.error is not None:
            raise member.error
        return finish(prepared, member)


def finish(prepared: PreparedRun, member: Member) -> RunSummary:
    """Save the result, evaluate it, write the summary; a stopped run only writes the summary.

    Of several ranks the first does so, and the others help it to evaluate.
    """
    full: list[RunSummary] = []
    assert member.ended is not None
    if member.ended.reason != "stopped":
        member.end_training()

    def work() -> RunSummary:
        full.append(_finish(prepared, member))
        return replace(full[0], answers=None, train_losses=None, trackers=None)

    summary = led(work, prepared.shared)
    return full[0] if full else summary


def _finish(prepared: PreparedRun, member: Member) -> RunSummary:
    """What ``finish`` does; a cancel stops the run too.

    Its adapter is saved as training or the choice left it; what was answered is kept for a resume.
    """
    assert member.ended is not None
    run, job, evaluator, state = prepared.run, prepared.job, prepared.evaluator, member.state
    reason, saved, found, forgetting = member.ended.reason, None, None, None
    earlier = max(member.earlier_seconds, stopped_seconds(run.folder))
    eval_loss = next(reversed(run.folder.held_out_losses().values()), None)
    if reason != "stopped":
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
            write_evaluation(found, run.folder, inputs=inputs_of(run.folder))
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
        seconds=time.perf_counter() - run.start + earlier,
        evaluation=found.document if found else None,
        reason=reason,
        plan=compared(prepared, state),  # which adds to the notices
        notices=tuple(run.notices),
        answers=found.answers if found else None,
        train_losses=found.train_losses if found else None,
        trackers=run.trackers,
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
    step = chosen.choice.best.step if chosen else state.best_step
    if (why := sign_text(prepared.run.folder, step)) is not None:
        progress.notice("best_by", why)
    return chosen


def _scale_down(prepared: PreparedRun, forgetting: Forgetting | None) -> Forgetting | None:
    """Let the adapter forget no more than is allowed, where it can; what it forgot now."""
    config, progress = prepared.run.config, prepared.run.progress
    wanted = config.evaluate.forgetting
    if not prepared.evaluator.probing or wanted is None or wanted.scale == "none":
        return forgetting
    if prepared.job.adapter.is_sharded:
        progress.notice("strength", "the model is not scaled down: its weights are sharded")
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
    base, adapter = prepared.loaded.base, prepared.job.adapter
    participant = fingerprint(base, adapter, saved)
    if adapter.frozen_base:
        carry_scores(fingerprint_now(base, adapter), participant)
    folder, method = prepared.run.folder, prepared.run.config.method
    width = prepared.loaded.engine.config.hidden_size
    history = training_history(folder, method, width=width)
    return Tuned(prepared.loaded, prepared.job.name, participant, seconds, forgetting, history)
