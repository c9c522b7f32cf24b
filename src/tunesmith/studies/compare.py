"""The same data through several methods: runs that share a base train together over one copy."""

import contextlib
import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.methods import needs_four_bit
from tunesmith.config.run import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.progress import SILENT, TOGETHER, Progress, finishing_first
from tunesmith.core.rank_work import by_first
from tunesmith.core.ranks import any_of, is_first, is_restarted
from tunesmith.data.dataset import RunRows
from tunesmith.engine import memory
from tunesmith.evaluation.evaluator import require_evaluable
from tunesmith.evaluation.measures import KnownBase
from tunesmith.evaluation.training_answers import require_answerable
from tunesmith.methods import table
from tunesmith.models.precision import detect_device
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.runs.inputs import COMPARISON, SEARCH, require_files
from tunesmith.runs.mirror import require_no_mirror
from tunesmith.runs.model_choice import with_model
from tunesmith.runs.neighbours import announced
from tunesmith.runs.prepare import LoadRows, PreparedRun, build_optimizer, member_of, prepare
from tunesmith.runs.result import resolved
from tunesmith.runs.rows import load_rows_for
from tunesmith.runs.run import finish
from tunesmith.runs.sharding import open_for_ranks
from tunesmith.runs.started import StartedRun, begin
from tunesmith.runs.summary import complete_summary
from tunesmith.studies.compared import ComparedRun, ComparisonState
from tunesmith.studies.variants import Variant
from tunesmith.training.events import Planned
from tunesmith.training.job import Member, planned
from tunesmith.training.loop import train
from tunesmith.training.measure import stream_tokens

ProgressOf = Callable[[str], Progress]  # of a run, by its name


def silent(_: str) -> Progress:
    """The progress of runs that nobody listens to."""
    return SILENT


def _models(variants: Sequence[Variant], progress: Progress) -> dict[str, str]:
    """What `auto` means, chosen once for all runs."""
    asked = {variant.config.model: variant.config for variant in variants}
    return {name: with_model(config, progress=progress).model for name, config in asked.items()}


def compare_runs(
    variants: Sequence[Variant], out: Path, progress_of: ProgressOf = silent
) -> ComparisonState:
    """Train every variant in a folder of its own below ``out``, adapters over one base at once.

    Raises RunError, before anything is written, where ``out`` holds a comparison already, or a run.
    A run that fails keeps its row, with the error, and the others continue. Cancelled in training
    or after it, all runs end as `stopped`.
    """
    begun = partial(_begun_rows, variants, out, progress_of(TOGETHER))
    return _run(by_first(begun, patient=True), progress_of)


def _begun_rows(variants: Sequence[Variant], out: Path, progress: Progress) -> ComparisonState:
    """The comparison with a folder for each run."""
    if is_restarted() and (out / COMPARISON).exists():
        return _kept_rows(out)
    require_free(out)
    folders = [RunFolder(out / variant.name) for variant in variants]
    for variant, folder in zip(variants, folders, strict=True):
        require_evaluable(variant.config)
        require_answerable(variant.config)
        require_no_mirror(variant.config, out)
        require_files(variant.config.data)
        folder.require_free()
    bases = _models(variants, progress)
    rows = []
    for variant, folder in zip(variants, folders, strict=True):
        base = bases.get(variant.config.model, variant.config.model)
        config = variant.config.model_copy(update={"out": str(folder.path), "model": base})
        with contextlib.suppress(TunesmithError):  # reported in its row, when its turn comes
            config = resolved(config)
        folder.create(config.model_dump(mode="json", by_alias=True))
        rows.append(ComparedRun(variant.name, config, folder))
    files.write_json(out / COMPARISON, {"names": [row.name for row in rows]})
    return ComparisonState(out, rows)


def require_free(out: Path) -> None:
    """Raise RunError for the folder of a comparison, or of a run, whose page would be replaced."""
    run = RunFolder(out).config.name
    kinds = {COMPARISON: ("comparison", "compare"), SEARCH: ("search",) * 2, run: ("run", "train")}
    for name, (what, command) in kinds.items():
        if (out / name).exists():
            raise RunError(
                f"{out} holds a {what} already.",
                remedy=f"Resume it with `tunesmith {command} --resume {out}`, or name another "
                "folder with --out.",
                code="exists",
            )


def resume_comparison(out: Path, progress_of: ProgressOf = silent) -> ComparisonState:
    """Resume an interrupted comparison; runs that are done stay as they are."""
    return _run(by_first(lambda: _kept_rows(out)), progress_of)


def _kept_rows(out: Path) -> ComparisonState:
    """A comparison as far as it came."""
    try:
        kept = json.loads((out / COMPARISON).read_text(encoding="utf-8"))
        names = kept["names"]
    except (OSError, ValueError, KeyError) as error:
        why = "cannot be read" if (out / COMPARISON).exists() else "is missing"
        raise RunError(
            f"{out} holds no comparison: {COMPARISON} {why}.",
            remedy="A single run is resumed with `tunesmith train --resume RUN`.",
        ) from error
    losses = kept.get("losses", {})
    sizes = {row["name"]: row["trainable_parameters"] for row in kept.get("runs", [])}
    rows = []
    for name in names:
        folder = RunFolder(out / str(name))
        row = ComparedRun(str(name), folder.read_config(), folder)
        row.summary = complete_summary(folder, row.config)
        row.trainable_parameters = sizes.get(row.name)
        rows.append(row)
    return ComparisonState(out, rows, losses)


def _run(comparison: ComparisonState, progress_of: ProgressOf) -> ComparisonState:
    together = progress_of(TOGETHER)
    try:
        for group in _groups([row for row in comparison.rows if row.summary is None]):
            if not any_of(together.is_cancelled):
                _run_group(comparison, group, progress_of)
                gc.collect()  # its base is gone before the next one is loaded, and measured
                memory.release(detect_device(group[0].config.device))
    finally:
        comparison.conclude()
        _keep(comparison)
    return comparison


def _keep(comparison: ComparisonState) -> None:
    """Write the comparison as far as it came."""
    kept = {"names": [row.name for row in comparison.rows], "losses": comparison.losses}
    if is_first():
        files.write_json(comparison.out / COMPARISON, {**kept, **comparison.to_json()})


def _groups(rows: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Rows over one base together; 4-bit bases after the others, `full` alone and last."""
    groups: dict[tuple[object, ...], list[ComparedRun]] = {}
    for row in rows:
        config = row.config
        alone_ = row.name if table.of(config.method).trains_base else None
        four_bit = needs_four_bit(config.method.kind)
        options = repr(sorted(config.data.template_options.items()))
        base = (config.model, config.dtype, config.device, config.trust_remote_code, options)
        key = (*base, four_bit, alone_)
        groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[-1] is not None, key[-2]))]


def _run_group(
    comparison: ComparisonState, rows: Sequence[ComparedRun], progress_of: ProgressOf
) -> None:
    """Load the base, train, evaluate: runs that train together over one copy of a base."""
    first = rows[0]
    config = first.config
    with contextlib.ExitStack() as locks:
        runs: dict[str, StartedRun] = {}
        for row in rows:
            locks.enter_context(alone(row.folder.path))
            runs[row.name] = begin(row.config, row.folder, progress_of(row.name))
        others = announced(first.folder.path, device=config.device, threads=config.train.threads)
        if (notice := locks.enter_context(others)) is not None:
            runs[first.name].progress.report(notice)
        try:
            _train_group(comparison, rows, runs, progress_of(TOGETHER))
        except TunesmithError as error:  # of the base, or of what all need
            for row in rows:
                row.error = row.error or error


def _train_group(
    comparison: ComparisonState,
    rows: Sequence[ComparedRun],
    runs: Mapping[str, StartedRun],
    together: Progress,
) -> None:
    first = runs[rows[0].name]
    memory.forget_peak(detect_device(first.config.device))
    base = KnownBase(open_for_ranks(first.config, progress=first.progress))
    load = read_once()
    ready: dict[str, PreparedRun] = {}
    for row in rows:
        with _error_kept(row):
            prepared = prepare(runs[row.name], base, name=row.name, load=load)
            row.trainable_parameters = prepared.job.adapter.size
            ready[row.name] = prepared
    members = _members([row for row in rows if row.name in ready], ready)
    if len(members) > 1:
        together.report(_sum([planned(member) for member in members.values()]))
    name_of = {id(member): name for name, member in members.items()}
    with finishing_first():
        for member, event in train(list(members.values()), progress=together):
            runs[name_of[id(member)]].progress.report(event)
    for row in (row for row in rows if row.name in members):
        member, prepared = members[row.name], ready[row.name]
        row.error = member.error
        with _error_kept(row):
            if member.error is None:
                row.summary = finish(prepared, member)
                _keep_ended(comparison, row)


def _keep_ended(comparison: ComparisonState, row: ComparedRun) -> None:
    """Keep what is known of a run that has ended, whatever ends the next ones.

    That is also what it loses on its training rows at scale 1, where that was measured.
    """
    losses = row.summary.train_losses if row.summary else None
    if losses is not None and not row.folder.is_scaled_down:
        comparison.losses[row.name] = losses
    _keep(comparison)


def _members(rows: Sequence[ComparedRun], ready: Mapping[str, PreparedRun]) -> dict[str, Member]:
    """All optimizers first: their states are part of what is measured, once for all."""
    adams = {name: build_optimizer(prepared) for name, prepared in ready.items()}
    members: dict[str, Member] = {}
    plan, together = None, sum(stream_tokens(prepared.job) for prepared in ready.values())
    for row in sorted(rows, key=lambda row: -ready[row.name].job.rows.lengths.max(initial=0)):
        with _error_kept(row):
            members[row.name] = member_of(
                ready[row.name], adams[row.name], beside=plan, together=together
            )
            plan = plan or members[row.name].plan
    return {row.name: members[row.name] for row in rows if row.name in members}


def read_once() -> LoadRows:
    """Reads rows that several runs share once."""
    known: dict[tuple[object, ...], RunRows] = {}

    def load(
        config: RunConfig, loaded: LoadedBase, adapter: str | None, progress: Progress
    ) -> RunRows:
        tokenizer, prefix = loaded.tokenizer(adapter), loaded.engine.prefix_length(adapter)
        key = (repr(config.data), id(tokenizer), prefix, config.train.seed)
        if key not in known:
            known[key] = load_rows_for(config, loaded, adapter, progress)
        return known[key]

    return load


def _sum(plans: Sequence[Planned]) -> Planned:
    """What members take together: their rounds are computed one after the other."""
    return Planned(
        steps=max(plan.steps for plan in plans),
        first_step=min(plan.first_step for plan in plans),
        tokens_per_step=sum(plan.tokens_per_step for plan in plans),
        tokens_per_micro_batch=min(plan.tokens_per_micro_batch for plan in plans),
        trainable_parameters=sum(plan.trainable_parameters for plan in plans),
        peak_bytes=max(plan.peak_bytes for plan in plans),
        seconds=sum(plan.seconds for plan in plans),
        evaluation_seconds=sum(plan.evaluation_seconds for plan in plans),
        evaluation_seconds_most=sum(plan.evaluation_seconds_most for plan in plans),
        is_retained=all(plan.is_retained for plan in plans),
    )


@contextlib.contextmanager
def _error_kept(row: ComparedRun) -> Iterator[None]:
    """A run's refusal is kept in its row; the others continue."""
    try:
        yield
    except TunesmithError as error:
        row.error = error
