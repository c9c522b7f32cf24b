"""What a run is predicted to take before its first step, and what it took: reported and kept."""

from dataclasses import replace

from tunesmith.config.methods import needs_four_bit
from tunesmith.core import ranks
from tunesmith.core.errors import TunesmithError
from tunesmith.core.ranks import is_first
from tunesmith.engine.model_shape import shape_of_base
from tunesmith.estimate import machine
from tunesmith.estimate.memory import Setup, memory_of
from tunesmith.estimate.prediction import Compared, Prediction
from tunesmith.estimate.seconds import step_seconds
from tunesmith.methods.sizes import trained_size
from tunesmith.models.weights import number_format
from tunesmith.runs.prepare import PreparedRun
from tunesmith.training.checkpoint import State
from tunesmith.training.job import Member
from tunesmith.training.steps import Plan, tokens_per_step

MIN_STEPS = 4  # whose speed corrects the next plan


def predicted(prepared: PreparedRun, member: Member) -> PreparedRun:
    """The run with its prediction, which is reported where a step follows; without one for a base
    of another shape.
    """
    try:
        prediction = predict(prepared, member.plan)
    except (TunesmithError, LookupError, AttributeError, TypeError, ValueError):
        return prepared  # an estimate ends no run: a base that brings its own code has any config
    if is_first() and member.over is None:
        prepared.run.progress.notice("plan", prediction.text)
    return replace(prepared, prediction=prediction)


def predict(prepared: PreparedRun, plan: Plan) -> Prediction:
    """What the plan's steps take, by the base's shape alone."""
    job, config = prepared.job, prepared.run.config
    engine, lengths = job.engine, job.rows.lengths
    shape = shape_of_base(engine.model.config)
    size = trained_size(config.method, shape)
    per_step = _step_tokens(prepared)
    at_once = max(job.streamed(per_step), int(lengths.max()))
    tokens = min(plan.tokens_per_micro_batch, at_once)
    setup = Setup(
        tokens=tokens,
        document=min(int(lengths.max()), tokens),
        supervised=supervised_share(prepared),
        dtype=number_format(engine.compute_dtype),
        four_bit=needs_four_bit(config.method.kind),
        optimizer=config.train.optimizer,
        averages=config.train.average_window > 0,
        recompute=plan.recompute,
        device=engine.device.type,
        ranks=ranks.size(),
        shard=engine.is_sharded,
        retained=config.train.retention is not None,
    )
    memory = memory_of(shape, size, setup)
    own = machine.here(config.device, measure=False)
    found = step_seconds(shape, size, setup, own, tokens=per_step)
    process = machine.PROCESS_BYTES if setup.device == "cpu" else 0
    correction = own.corrections.get(config.method.kind, 1.0)
    seconds = None if found is None else found.total * config.train.work * correction
    return Prediction(memory.total + process, memory.to_json(), seconds)


def _step_tokens(prepared: PreparedRun) -> int:
    job = prepared.job
    total, settings = int(job.rows.lengths.sum()), job.settings
    if settings.rows_per_step:
        return min(total, round(settings.rows_per_step * total / len(job.rows)))
    return min(total, tokens_per_step(settings))


def supervised_share(prepared: PreparedRun, *, most: int = 64) -> float:
    """Of the tokens, that are scored: by the first rows."""
    rows = [prepared.job.rows[i] for i in range(min(most, len(prepared.job.rows)))]
    tokens = sum(len(row.ids) for row in rows)
    return sum(int((row.weights > 0).sum()) for row in rows) / max(1, tokens)


def compared(prepared: PreparedRun, state: State) -> dict[str, object] | None:
    """The prediction beside the run's steps, as a document, and reported; None before the first.

    The next plans on this machine are corrected by the difference in time.
    """
    prediction, peak = prepared.prediction, prepared.run.folder.peak_bytes()
    if prediction is None or not peak or not state.step:
        return None
    speed = state.tokens_per_second
    seconds = state.tokens / speed / state.step if speed else None
    found = Compared(prediction, peak, seconds)
    prepared.run.progress.notice("plan", found.text)
    if seconds and prediction.step_seconds and state.step >= MIN_STEPS:
        config = prepared.run.config
        machine.learn(config.device, config.method.kind, seconds / prediction.step_seconds)
    return found.to_json()
