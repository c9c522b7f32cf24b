"""One training run over an opened base: its folder, events, adapter, rows, judge and result."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.config import RunConfig
from tunesmith.config.methods import needs_four_bit
from tunesmith.core import files
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Cancelled, Event, Notice, Progress
from tunesmith.data.dataset import RunRows
from tunesmith.data.quality.distribution import few_rows
from tunesmith.engine import memory
from tunesmith.evaluation.answering import fingerprint
from tunesmith.evaluation.evaluator import Evaluation, Evaluator
from tunesmith.evaluation.findings import words_in
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.measures import KnownBase, Tuned
from tunesmith.evaluation.overfitting import choice_text
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter
from tunesmith.methods.virtual_tokens import narrow_layers
from tunesmith.models.in_memory import held_model, own_weights_
from tunesmith.runs import continuation, result
from tunesmith.runs.evaluation_files import training_history, write_evaluation
from tunesmith.runs.folder import RunFolder, curves_of
from tunesmith.runs.rows import load_rows
from tunesmith.runs.selection import ChosenCheckpoint, choose_kept, find_scale, kept_checkpoints
from tunesmith.runs.summary import RunSummary
from tunesmith.training import checkpoint, optimizer
from tunesmith.training.checkpoint import State
from tunesmith.training.events import BestCheckpoint, ScaledDown
from tunesmith.training.job import Job, Member, planned
from tunesmith.training.loop import held_out_loss
from tunesmith.training.measure import make_plan, plan_beside
from tunesmith.training.steps import Plan

LoadRows = Callable[..., RunRows]


def open_for(config: RunConfig, *, progress: Progress) -> LoadedBase:
    """The base that a config trains over, in the format that its method asks for."""
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    progress.phase(f"loading {config.model}")
    loaded = open_base(
        result.start_model(config),
        dtype=config.dtype,
        device=config.device,
        four_bit=needs_four_bit(config.method.kind),
        trust_remote_code=config.trust_remote_code,
        progress=progress,
    )
    if table.METHODS[config.method.kind].trains_base and held_model(loaded.base.folder):
        own_weights_(loaded.base.model)
    return loaded


class OneRun:
    """A run, new or resumed: prepared over a base, trained as a member, finished."""

    def __init__(self, config: RunConfig, folder: RunFolder, *, progress: Progress) -> None:
        self.config, self.folder = config, folder
        self._listener = progress.on_event
        self.progress = replace(progress, on_event=self.record, threads=config.train.threads)
        self._curves = curves_of(folder.path) if config.train.tensorboard else None
        self.notices: list[str] = []
        self.start = time.perf_counter()
        self.loaded: LoadedBase
        self.evaluator: Evaluator
        self.evaluation: Evaluation | None = None
        self.job: Job

    def record(self, event: Event) -> None:
        """Record an event in the run folder, then pass it on."""
        self.folder.record(event)
        if isinstance(event, Notice):
            self.notices.append(event.message)
        if self._curves is not None:
            self._curves(event)
        self._listener(event)

    def prepare(
        self,
        base: KnownBase,
        *,
        name: str = "default",
        load: LoadRows = load_rows,
    ) -> None:
        """Attach the adapter under ``name``, read the rows, and let the base answer if it must.

        Runs over one base share what was measured of it.
        """
        loaded = self.loaded = base.loaded
        for note in loaded.base.notes:
            self.progress.notice("base", note)
        adapter = result.attach(loaded, self.config, name=name)
        if other := continuation.other_base(self.config, loaded.base):
            self.progress.notice("other_base", other)
        rows = self._rows(adapter, load)
        self.evaluator = Evaluator(
            base,
            self.config,
            rows,
            progress=self.progress,
            virtual_tokens=loaded.engine.prefix_length(adapter.name),
            has_history=True,
        )
        if not adapter.frozen_base:
            self.evaluator.answer_before()
        self.job = Job(
            engine=loaded.engine,
            adapter=adapter,
            rows=rows.train,
            held=rows.held,
            settings=self.config.train,
            folder=self.folder.path,
            copies=rows.copies,
            keep_plan=self.folder.write_plan,
        )

    def _rows(self, adapter: Adapter, load: LoadRows) -> RunRows:
        self.progress.phase("reading the data")
        loaded = self.loaded
        rows = load(
            self.config.data,
            loaded.tokenizer(adapter.name),
            context=loaded.base.context - loaded.engine.prefix_length(adapter.name),
            seed=self.config.train.seed,
            progress=self.progress,
        )
        held = len(rows.held) if rows.held else 0
        self.progress.notice(
            "data",
            f"{pluralize(len(rows.train), 'row')} of {pluralize(rows.train.tokens, 'token')} to "
            f"train on ({rows.train.supervised_tokens:,} supervised), {held:,} held out",
        )
        method = self.config.method
        few = few_rows(len(rows.train), method.kind, enough=table.of(method).min_rows)
        for note in (*few, *rows.train.notes):
            self.progress.notice(note.code, f"{note.message} ({pluralize(note.count, 'row')})")
        lengths = np.concatenate([part.lengths for part in (rows.train, rows.held) if part])
        for narrow in narrow_layers(loaded.engine, adapter.name):
            if count := int((lengths > narrow.length).sum()):
                longer = f"{count:,} of {pluralize(len(lengths), 'row')} are that long"
                self.progress.notice("window", f"{narrow}; {longer}")
        result.write_environment(self.folder.environment, loaded.base, self.config)
        return rows

    def build_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer with its states, which are part of the memory that is measured."""
        settings = self.config.train
        return optimizer.build(
            self.job.adapter,
            lr=self._rate(),
            weight_decay=settings.weight_decay,
            kind=settings.optimizer,
        )

    def _rate(self) -> float:
        lr = self.config.train.lr
        width = self.loaded.engine.model.config.hidden_size
        return table.learning_rate(self.config.method.kind, width) if lr == "auto" else lr

    def member(self, adam: torch.optim.Optimizer, *, beside: Plan | None = None) -> Member:
        """What the loop trains: planned (by measuring, or as one that trains with it), restored."""
        plan = self.folder.read_plan()
        if plan is None:
            if beside is None:
                self.progress.phase("measuring memory and speed on the longest documents")
                plan = make_plan(self.job, lr=self._rate())
            else:
                plan = plan_beside(self.job, beside, lr=self._rate())
            self.folder.write_plan(plan)
        state = self._restore(adam)
        member = Member(self.job, plan, adam, state)
        self.progress.report(planned(member))
        return member

    def _restore(self, adam: torch.optim.Optimizer) -> State:
        newest = checkpoint.newest(self.folder.checkpoints)
        state = State(step=0, tokens=0, train_loss=math.nan)
        if newest is not None:
            state, changed = checkpoint.restore_(newest, self.job.adapter.parameters, adam)
            self.start -= state.seconds
            self.job.adapter.refresh()
            self.progress.notice("resumed", f"resumed after step {state.step}")
            if changed:
                self.progress.notice("not_exact", f"not exact because {'; '.join(changed)}")
        self.folder.cut(state.step)
        return state

    def finish(self, member: Member) -> RunSummary:
        """Save the result, evaluate it, write the summary; a stopped run only writes the summary.

        A cancel stops the run too: its adapter is saved as training left it, or as it was chosen,
        and what was answered is known when it is resumed.
        """
        assert member.ended is not None
        reason, saved = member.ended.reason, None
        forgetting: Forgetting | None = None
        eval_loss = next(reversed(self.folder.held_out_losses().values()), None)
        if reason != "stopped":
            try:
                chosen = self._choose(member.state)
                eval_loss = -chosen.choice.best.score if chosen else eval_loss
                forgetting = self._weaken(chosen.forgetting if chosen else None)
            except Cancelled:
                reason = "stopped"
            if self.folder.is_scaled_down and (held := self.job.held) is not None:
                tokens = member.plan.tokens_per_micro_batch
                eval_loss = held_out_loss(self.job, held, tokens=tokens)
            saved = result.save(self.folder, self.loaded, self.job.adapter, self.config)
        if saved is not None and reason != "stopped":
            try:
                tuned = self._tuned(saved, member.state, forgetting)
                self.evaluation = self.evaluator.evaluate(tuned)
                write_evaluation(self.evaluation, self.folder)
            except Cancelled:
                reason = "stopped"
        summary = self._summary(member, saved, reason=reason, eval_loss=eval_loss)
        files.write_json(self.folder.summary, summary.to_json())
        return summary

    def _summary(
        self, member: Member, saved: Path | None, *, reason: str, eval_loss: float | None
    ) -> RunSummary:
        state, found = member.state, self.evaluation
        return RunSummary(
            run=str(self.folder.path),
            adapter=str(saved) if saved else None,
            steps=state.step,
            tokens=state.tokens,
            train_loss=state.train_loss,
            eval_loss=eval_loss,
            tokens_per_second=state.step_tokens / state.step_seconds if state.step_tokens else None,
            peak_bytes=max(memory.peak_bytes(self.loaded.engine.device), self.folder.peak_bytes()),
            seconds=time.perf_counter() - self.start,
            evaluation=found.document if found else None,
            reason=reason,
            notices=tuple(self.notices),
            answers=found.answers if found else None,
        )

    def _choose(self, state: State) -> ChosenCheckpoint | None:
        """The best checkpoint, put into the adapter; None where there is no choice.

        A cancel in between leaves the adapter as training left it.
        """
        kept = kept_checkpoints(self.folder, state.best_step)
        try:
            chosen = choose_kept(kept, self._forgotten if self.evaluator.probes else None)
        except Cancelled:
            self._put_back(kept[-1].folder)
            raise
        if chosen is not None:
            self._put_back(chosen.folder)
            self.progress.report(BestCheckpoint(**chosen.choice.to_json()))
            if chosen.choice.reason != "last":
                self.progress.notice("best", choice_text(chosen.choice, words_in()))
        return chosen

    def _forgotten(self, folder: Path) -> Forgetting:
        self._put_back(folder)
        return self._forget(None)

    def _put_back(self, folder: Path) -> None:
        store.put_(self.job.adapter, checkpoint.tensors_of(folder))

    @property
    def _adapter_name(self) -> str | None:
        """Who answers: the adapter, or the whole model (None)."""
        return self.job.adapter.name if self.job.adapter.frozen_base else None

    def _weaken(self, forgetting: Forgetting | None) -> Forgetting | None:
        """Let the adapter forget no more than is allowed, where it can; what it forgot now."""
        wanted = self.config.evaluate.forgetting
        if not self.evaluator.probes or wanted is None or wanted.scale == "none":
            return forgetting
        found = find_scale(
            self.job.adapter,
            cache(self._start),
            score=lambda: self.evaluator.first_score(self.loaded, self._adapter_name),
            forget=self._forget,
            allowed=wanted.accuracy_points / 100,
            full=forgetting,
        )
        if found is not None and (scale := found.scale) is not None:
            self.progress.report(ScaledDown(**asdict(scale)))
            self.progress.notice("strength", scale.text())
        return found.forgetting if found else forgetting

    def _start(self) -> Mapping[str, torch.Tensor]:
        """The base's weights by name: read again, as full fine-tuning changed those in memory."""
        return dict(open_for(self.config, progress=self.progress).engine.model.named_parameters())

    def _forget(self, probes: Sequence[str] | None) -> Forgetting:
        found = self.evaluator.forgetting(self.loaded, self._adapter_name, probes)
        assert found is not None  # asked only where there are probes
        return found

    def _tuned(self, saved: Path, state: State, forgetting: Forgetting | None) -> Tuned:
        """What was trained, saved in this folder."""
        adapter = self.job.adapter
        participant = fingerprint(self.loaded.base, adapter, saved)
        seconds = None
        if state.step_tokens:  # of steps that were not the first ones, which take longer
            seconds = state.tokens * state.step_seconds / state.step_tokens
        width = self.loaded.engine.model.config.hidden_size
        history = training_history(self.folder, self.config.method, width=width)
        return Tuned(self.loaded, self._adapter_name, participant, seconds, forgetting, history)
