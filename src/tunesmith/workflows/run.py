"""One training run from config to adapter: what `train` does, for command line and notebook."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tunesmith import files
from tunesmith.adapters import store
from tunesmith.config import RunConfig, load_run_config
from tunesmith.config.methods import FOUR_BIT_KINDS
from tunesmith.counts import many
from tunesmith.errors import ConfigError, RunError, TunesmithError
from tunesmith.evaluate.checks.table import build_checks
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter
from tunesmith.train import checkpoint, loop, memory, optimizer
from tunesmith.train.batches import DEFAULT_TOKENS_PER_STEP
from tunesmith.train.checkpoint import State
from tunesmith.train.events import Ended, Event, Notice, Planned, Progress
from tunesmith.train.job import Job, Plan
from tunesmith.train.measure import make_plan
from tunesmith.train.neighbours import announced
from tunesmith.train.run_folder import RunFolder, read_lines
from tunesmith.train.run_lock import alone
from tunesmith.workflows import result
from tunesmith.workflows.answers import Answers
from tunesmith.workflows.curves import curves_of
from tunesmith.workflows.judge import Judge
from tunesmith.workflows.opening import Opened, open_base
from tunesmith.workflows.rows import RunRows, load_rows, require_files

Emit = Callable[[Event], None]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended; ``to_json`` is what `train --json` prints."""

    run: str
    adapter: str | None
    steps: int
    tokens: int
    train_loss: float
    eval_loss: float | None
    tokens_per_second: float
    peak_bytes: int
    seconds: float
    evaluation: dict[str, object] | None
    reason: str
    notices: tuple[str, ...]
    answers: Answers | None = None

    def to_json(self) -> dict[str, object]:
        """The documented keys, and why the run ended."""
        return {
            "run": self.run,
            "adapter": self.adapter,
            "steps": self.steps,
            "tokens": self.tokens,
            "train_loss": self.train_loss,
            "eval_loss": self.eval_loss,
            "tokens_per_second": self.tokens_per_second,
            "peak_bytes": self.peak_bytes,
            "seconds": self.seconds,
            "evaluation": self.evaluation,
            "reason": self.reason,
            "notices": list(self.notices),
        }


def train_run(config: RunConfig, *, emit: Emit, stop: Stop = lambda: False) -> RunSummary:
    """Run a new training; raises RunError where its folder holds another run."""
    build_checks(config.evaluate.checks)  # a faulty one is refused before anything is written
    require_files(config.data)  # so is a missing file
    folder = RunFolder(Path(config.out or _free_name(config)))
    config = config.model_copy(update={"out": str(folder.path)})
    folder.create(config.model_dump(mode="json", by_alias=True))
    with alone(folder.path):
        try:
            return _Run(config, folder, emit=emit, stop=stop).go()
        except TunesmithError as error:
            if error.code != "disk":  # which asks to go on
                folder.discard_unless_begun()
            raise


def resume_run(path: Path, *, emit: Emit, stop: Stop = lambda: False) -> RunSummary:
    """Go on with an interrupted run, from its newest complete checkpoint.

    A complete one is left as it is, and its summary comes back.
    """
    folder = RunFolder(path)
    if not folder.config.exists():
        raise RunError(
            f"{path} holds no run (no config.yaml).", remedy="`tunesmith runs list` shows them."
        )
    config = load_run_config(folder.config, {})
    with alone(folder.path):
        files.sweep(folder.path)
        if (summary := _complete(folder, config)) is not None:
            emit(Notice("complete", f"{path}: the run is complete; this is how it ended"))
            return summary
        return _Run(config, folder, emit=emit, stop=stop).go()


def _complete(folder: RunFolder, config: RunConfig) -> RunSummary | None:
    """How a run ended that has nothing left to do; None where its result or its answers lack."""
    result = next((path for path in (folder.adapter, folder.model) if path.is_dir()), None)
    asks = bool(config.evaluate.checks and config.data.eval)
    try:
        values = json.loads(folder.summary.read_text(encoding="utf-8"))
        summary = RunSummary(**{**values, "notices": tuple(values["notices"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    answered = summary.evaluation is not None and folder.answers.exists()
    if summary.reason not in ("done", "early") or result is None or (asks and not answered):
        return None
    return replace(summary, run=str(folder.path), adapter=str(result))


def _free_name(config: RunConfig) -> str:
    """runs/DATA-METHOD, with a number where that is taken."""
    stem = f"{Path(config.data.sources[0].path).stem}-{config.method.kind}"
    taken = {p.name for p in Path("runs").iterdir()} if Path("runs").is_dir() else set()
    names = [stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))]
    return str(Path("runs") / next(name for name in names if name not in taken))


class _Run:
    """The steps of one run, new or resumed, and what they share."""

    def __init__(self, config: RunConfig, folder: RunFolder, *, emit: Emit, stop: Stop) -> None:
        self.config, self.folder, self.stop = config, folder, stop
        self._emit = emit
        self._curves = curves_of(folder.path) if config.train.tensorboard else None
        self.notices: list[str] = []
        self.start = time.perf_counter()

    def emit(self, event: Event) -> None:
        """Record an event in the run folder, then pass it on."""
        self.folder.record(event)
        if isinstance(event, Notice):
            self.notices.append(event.message)
        if self._curves is not None:
            self._curves(event)
        self._emit(event)

    def wait(self, phase: str) -> None:
        """Tell what takes time now."""
        self.emit(Progress(phase))

    def go(self) -> RunSummary:
        """Load, train, judge, save, and tell of other trainings here."""
        train = self.config.train
        device = self.config.device
        with announced(self.folder.path, device=device, threads=train.threads) as notice:
            if notice is not None:
                self.emit(notice)
            return self._go()

    def _go(self) -> RunSummary:
        config = self.config
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.wait(f"loading {config.model}")
        opened = open_base(
            result.start_model(config),
            dtype=config.dtype,
            device=config.device,
            four_bit=config.method.kind in FOUR_BIT_KINDS,
            trust_remote_code=config.trust_remote_code,
            emit=self.wait,
        )
        for note in opened.base.notes:
            self.emit(Notice("base", note))
        adapter = result.attach(opened, config)
        rows = self._rows(opened, adapter)
        judge = Judge(opened, config, rows.held_conversations, emit=self.emit, stop=self.stop)
        if not adapter.frozen_base:
            judge.answer_before()
        job = Job(
            engine=opened.engine,
            adapter=adapter,
            rows=rows.train,
            held=rows.held,
            settings=config.train,
            folder=self.folder.path,
            copies=rows.copies,
        )
        state, ended = self._train(job)
        return self._finish(job, opened, judge, state=state, ended=ended)

    def _rows(self, opened: Opened, adapter: Adapter) -> RunRows:
        self.wait("reading the data")
        rows = load_rows(
            self.config.data,
            opened.tokenizer(adapter.name),
            context=_room(opened, adapter),
            seed=self.config.train.seed,
        )
        held = len(rows.held) if rows.held else 0
        self.emit(
            Notice(
                "data",
                f"{many(len(rows.train), 'row')} of {many(rows.train.tokens, 'token')} to train on "
                f"({rows.train.supervised_tokens:,} supervised), {held:,} held out",
            )
        )
        for note in rows.train.notes:
            self.emit(Notice(note.code, f"{note.message} ({many(note.count, 'row')})"))
        result.write_environment(self.folder.environment, opened.base, self.config)
        return rows

    def _train(self, job: Job) -> tuple[State, Ended]:
        """The loop, from the newest checkpoint where there is one."""
        lr = self.config.train.lr
        if lr == "auto":
            lr = table.learning_rate(self.config.method.kind, job.engine.model.config.hidden_size)
        adam = optimizer.build(job.adapter, lr=lr, weight_decay=job.settings.weight_decay)
        plan = self.folder.read_plan()
        if plan is None:
            self.wait("measuring memory and speed on the longest documents")
            plan = make_plan(job, lr=lr)
            self.folder.write_plan(plan)
        state = self._restore(job, adam)
        self.emit(_planned(job, plan, state))
        ended = Ended(state.step, "done")
        for event in loop.train(job, plan, adam, state=state, stop=self.stop):
            if isinstance(event, Ended):
                ended = event
            self.emit(event)
        newest = checkpoint.newest(self.folder.checkpoints)
        assert newest is not None
        return checkpoint.read_state(newest), ended

    def _restore(self, job: Job, adam: torch.optim.Optimizer) -> State:
        newest = checkpoint.newest(self.folder.checkpoints)
        state = State(step=0, tokens=0, train_loss=math.nan)
        if newest is not None:
            state, changed = checkpoint.restore_(newest, job.adapter.parameters, adam)
            job.adapter.refresh()
            self.emit(Notice("resumed", f"resumed after step {state.step}"))
            if changed:
                self.emit(Notice("not_exact", f"not exact because {'; '.join(changed)}"))
        self.folder.cut_metrics(state.step)
        return state

    def _finish(
        self, job: Job, opened: Opened, judge: "Judge", *, state: State, ended: Ended
    ) -> RunSummary:
        """Save the result, judge it, write the summary; a stopped run only writes the summary."""
        adapter: str | None = None
        evaluation: dict[str, object] | None = None
        if ended.reason != "stopped":
            if ended.reason == "early" and state.best_step is not None:
                store.put_(job.adapter, checkpoint.tensors_of(self.folder.checkpoints / "best"))
                self.emit(Notice("best", f"the result is the best one, of step {state.best_step}"))
            adapter = str(result.save(self.folder, opened, job.adapter, self.config))
            answers = judge.judge(job.adapter)
            if judge.stopped:
                ended = replace(ended, reason="stopped")
            elif answers is not None:
                evaluation = answers.to_json()
                files.write_json(self.folder.evaluation, evaluation)
                lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in answers.rows()]
                files.write_text(self.folder.answers, "".join(lines))
        summary = RunSummary(
            run=str(self.folder.path),
            adapter=adapter,
            steps=state.step,
            tokens=state.tokens,
            train_loss=state.train_loss,
            eval_loss=_last_held_out(self.folder),
            tokens_per_second=state.step_tokens / state.step_seconds if state.step_tokens else 0.0,
            peak_bytes=memory.peak_bytes(opened.engine.device),
            seconds=time.perf_counter() - self.start,
            evaluation=evaluation,
            reason=ended.reason,
            notices=tuple(self.notices),
            answers=judge.answers,
        )
        files.write_json(self.folder.summary, summary.to_json())
        return summary


def _room(opened: Opened, adapter: Adapter) -> int:
    """Tokens of the longest document, behind the adapter's virtual tokens."""
    context, virtual = opened.base.context, opened.engine.prefix_length(adapter.name)
    if context - virtual < 2:
        raise ConfigError(
            f"There is no room behind {many(virtual, 'virtual token')} in the model's context of "
            f"{context:,}.",
            remedy="Set method.tokens to fewer.",
        )
    return context - virtual


def _planned(job: Job, plan: Plan, state: State) -> Planned:
    tokens = job.rows.lengths.sum() / len(job.rows)
    per_step = job.settings.tokens_per_step or DEFAULT_TOKENS_PER_STEP
    if job.settings.rows_per_step:
        per_step = round(job.settings.rows_per_step * tokens)
    per_step = min(per_step, int(job.rows.lengths.sum()))
    return Planned(
        steps=plan.steps,
        first_step=state.step,
        tokens_per_step=per_step,
        tokens_per_micro_batch=plan.tokens_per_micro_batch,
        trainable_parameters=job.adapter.size,
        peak_bytes=plan.peak_bytes,
        seconds=(plan.steps - state.step) * per_step * plan.seconds_per_token,
    )


def _last_held_out(folder: RunFolder) -> float | None:
    losses = [line["loss"] for line in read_lines(folder.events) if line["event"] == "heldout"]
    return float(str(losses[-1])) if losses else None
