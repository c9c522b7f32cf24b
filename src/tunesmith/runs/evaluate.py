"""`evaluate`: a run, an adapter or a model evaluated again, on held-out rows or another file."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.adapters.folder import read_origin, template_options_of
from tunesmith.adapters.loaded_base import LoadedBase, attach_over_any, lend_template, open_base
from tunesmith.adapters.store import settings_of
from tunesmith.config import RunConfig
from tunesmith.config.load import merged, run_config
from tunesmith.config.methods import first_kind
from tunesmith.core.errors import ConfigError, DataError, ModelError, RunError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.chat_text import with_options
from tunesmith.evaluation.answering import fingerprint
from tunesmith.evaluation.assessment import Evaluation
from tunesmith.evaluation.evaluator import Evaluator, require_evaluable
from tunesmith.evaluation.measures import KnownBase, Tuned
from tunesmith.methods.adapter import Adapter
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs.card import update_card
from tunesmith.runs.evaluated import CHANGED_ROWS, EvaluatedTarget, inputs_sha256
from tunesmith.runs.evaluation_files import (
    training_history,
    training_seconds,
    update_summary,
    write_evaluation,
)
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.runs.inputs import require_files, require_target, run_of
from tunesmith.runs.locate import locate
from tunesmith.runs.lock import changed_rows
from tunesmith.runs.result import open_for
from tunesmith.runs.row_notes import with_caveats
from tunesmith.runs.rows import load_rows_for

NAME = "tuned"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated: an adapter over the config's base, a whole model, or (None) that base.

    ``has_training_rows`` is whether the config names rows that it was trained on.
    """

    config: RunConfig
    trained: Path | None = None
    is_adapter: bool = False
    run: RunFolder | None = None
    has_training_rows: bool = True


def evaluate_target(
    target: str,
    overrides: Mapping[str, object],
    *,
    data: str | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> EvaluatedTarget:
    """Evaluate a run, an adapter's folder or a base on its held-out rows, or on the file ``data``.

    The document goes into ``out``, or into the run's folder. Raises RunError where the run has no
    result or its base is gone, ConfigError without checks or rows. Cancelled, nothing is written,
    and what was answered is known the next time.
    """
    subject = subject_of(target, overrides, data)
    require_evaluable(subject.config)
    _require_questions(subject.config, target)
    config = subject.config
    inputs = inputs_sha256(config, subject.run) if subject.run is not None else None
    subject = _with_rows(subject, progress)
    place = RunFolder(out) if out is not None else subject.run
    with ExitStack() as locks:
        if place is not None:
            place.path.mkdir(parents=True, exist_ok=True)
            locks.enter_context(alone(place.path))
        changed = _changed_rows(subject, progress)
        found = evaluated(subject, target, progress)
        document, answers = (found.document, found.answers) if found else (None, None)
        if document is not None and changed is not None:
            document[CHANGED_ROWS] = changed
        if place is not None:
            write_evaluation(found, place, inputs=inputs)
            update_summary(document, place)
            update_card(place)
    folder = place.path if place else None
    return EvaluatedTarget(target, config, document, answers, folder)


def _changed_rows(subject: Subject, progress: Progress) -> str | None:
    """That other rows are here than those of which a run held some out; None where none are."""
    if subject.run is None or subject.config.data.held is not None:
        return None
    found = changed_rows(subject.run, subject.config)
    if not found:
        return None
    differences = "; ".join(each.text() for each in found)
    text = (
        f"rows were changed since, so some that are asked may have been trained on: {differences}"
    )
    progress.notice(CHANGED_ROWS, text)
    return text


def subject_of(target: str, overrides: Mapping[str, object], data: str | None) -> Subject:
    """What a name means: a run's folder (or the result in it), an adapter's, or a base."""
    held = {"data": {"eval": data, "validation": 0.0}} if data is not None else {}
    if (run := run_of(target)) is not None:
        trained = run.require_trained()
        config = run.read_config(merged(overrides, held))
        return Subject(config, trained, trained == run.adapter, run)
    if data is None:
        require_target(target, data)
    found = locate(target)
    adapter = next(iter(found.adapters.values()), None)
    named = merged({"data": {"train": data}}, overrides)
    method = {"kind": first_kind(four_bit=found.four_bit)}
    if adapter is not None and not found.four_bit:
        method = {"kind": settings_of(adapter).kind}
    options = template_options_of(adapter) if adapter else {}
    asked = {"system": found.system, "template_options": dict(options)}
    under = {"data": {key: value for key, value in asked.items() if value}}
    own = merged({"model": found.model, "method": method}, under)
    values = merged(own, merged(named, held))
    config = run_config(values, path=None, flags=overrides)
    return Subject(config, adapter, adapter is not None, None, named["data"] != {"train": data})


def _require_questions(config: RunConfig, target: str) -> None:
    if not config.evaluate.checks:
        raise ConfigError(
            f"{target} has no checks, so there is nothing that an answer must pass.",
            remedy="Give some: --evaluate.checks exact; docs/checks.md lists them.",
        )
    if not config.data.eval:
        raise ConfigError(
            f"{target} held no rows out.", remedy="Name a file with rows to ask: --data FILE."
        )


def evaluated(subject: Subject, target: str, progress: Progress) -> Evaluation | None:
    """Open, attach, read, evaluate: the same calls as at the end of a training."""
    config = subject.config
    progress = replace(progress, threads=config.train.threads)
    loaded = _loaded(subject, target, progress)
    for note in loaded.base.notes:
        progress.notice("base", note)
    adapter = None
    if subject.is_adapter and subject.trained is not None:
        adapter = attach_over_any(loaded, subject.trained, name=NAME)
        if own := loaded.tokenizers.get(NAME):
            loaded.tokenizers[NAME] = with_options(own, config.data.template_options)
        if lent := lend_template(loaded, NAME):
            progress.notice("base", lent)
    if subject.trained is not None:
        warn_other_base(subject.trained, loaded, progress)
    progress.phase("reading the data")
    name = NAME if adapter else None
    rows = load_rows_for(config, loaded, name, progress)
    if not subject.has_training_rows:
        rows = replace(rows, train=replace(rows.train, notes=()), sample=())
    rows = with_caveats(config, loaded, rows, name)
    for caveat in rows.caveats:
        progress.notice(caveat.code, caveat.text())
    evaluator = Evaluator(
        KnownBase(loaded),
        config,
        rows,
        progress=progress,
        virtual_tokens=loaded.engine.prefix_length(name),
        has_history=subject.run is not None and subject.has_training_rows,
    )
    return evaluator.evaluate(_tuned(subject, loaded, adapter, evaluator))


def _tuned(
    subject: Subject, loaded: LoadedBase, adapter: Adapter | None, evaluator: Evaluator
) -> Tuned | None:
    """What is compared with the base; a whole model is loaded when the base has answered."""
    if subject.trained is None:
        return None
    config, run = subject.config, subject.run
    seconds = training_seconds(run) if run else None
    history = None
    if run is not None and subject.has_training_rows:
        width = loaded.engine.config.hidden_size
        history = training_history(run, config.method, width=width)
    if adapter is not None:
        who = fingerprint(loaded.base, adapter, subject.trained)
        return Tuned(loaded, NAME, who, seconds, history=history)
    evaluator.answer_before()
    whole = open_base(
        str(subject.trained),
        dtype=config.dtype,
        device=config.device,
        trust_remote_code=config.trust_remote_code,
    )
    who = fingerprint(loaded.base, None, subject.trained)
    return Tuned(whole, None, who, seconds, history=history)


def _loaded(subject: Subject, target: str, progress: Progress) -> LoadedBase:
    """The base; RunError where it is no longer there."""
    try:
        return open_for(subject.config, progress=progress)
    except ModelError as error:
        if subject.run is None:
            raise
        raise RunError(
            f"{target}: its base {subject.config.model} cannot be used: {error.message}",
            remedy="Give its present place: --model FOLDER.",
            code="base_gone",
        ) from error


def warn_other_base(trained: Path, loaded: LoadedBase, progress: Progress) -> None:
    """Report where what was trained names another base than the one that is here."""
    origin = read_origin(trained)
    if origin is not None and origin.sha256 != hash_folder(loaded.base.folder)[COMBINED]:
        text = f"{trained} was trained over another base than {loaded.base.name}"
        progress.notice("other_base", text)


def _with_rows(subject: Subject, progress: Progress) -> Subject:
    """The subject with files that are there; of a file alone where training rows are gone."""
    config = subject.config
    data, has_rows = config.data, subject.has_training_rows
    if isinstance(data.eval, str):
        try:
            require_files(data)
        except DataError as error:
            require_files(data.model_copy(update={"train": data.eval}))
            text = f"without training rows there is no arm `examples`: {error.message}"
            progress.notice("left_out", text)
            has_rows = False
        if not has_rows:
            data = data.model_copy(update={"train": data.eval, "share": 1.0, "drop": ()})
    else:
        require_files(data)
    config = config.model_copy(update={"data": data})
    return replace(subject, config=config, has_training_rows=has_rows)
