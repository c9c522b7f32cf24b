"""`train`: one fine-tuning run, new or resumed, with its evaluation and its page."""

import json
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.gate import require_checks
from tunesmith.api.settings import RunKeywords, config_unless, is_named
from tunesmith.api.show import Document, Outcome
from tunesmith.api.sources import Data
from tunesmith.api.work import OnEvent, Working, working
from tunesmith.core.errors import RunError
from tunesmith.core.progress import SILENT, Cancelled, Progress
from tunesmith.core.rank_work import by_first
from tunesmith.core.ranks import running, speaks
from tunesmith.core.remote import is_remote

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.api.display import RunDisplay
    from tunesmith.config.run import RunConfig
    from tunesmith.runs.summary import RunSummary

STOPPING = "stopping after this step; once more stops at once (the last checkpoint stays)"


@dataclass(frozen=True, slots=True, repr=False)
class Run(Outcome):
    """A run: its results, and where its files are.

    ``notes`` were shown during the run, and must not be overlooked.
    """

    summary: "RunSummary"
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.summary.run)

    @property
    def adapter(self) -> Path | None:
        """The adapter in PEFT's format, the model's folder for `full`; None before the end."""
        return None if self.summary.adapter is None else Path(self.summary.adapter)

    @property
    def evaluation(self) -> Document | None:
        """The evaluate document; None without checks."""
        return self.summary.evaluation

    def evaluations(self) -> dict[str, Document | None]:
        """The evaluate document, by the folder's name."""
        return {self.folder.name: self.evaluation}

    @property
    def verdict(self) -> str:
        """`yes`, `no` or `cannot tell`, with the reason."""
        verdict = (self.evaluation or {}).get("verdict")
        return str(verdict["text"]) if verdict else "no purpose stated: loss only"

    @property
    def metrics(self) -> list[dict[str, object]]:
        """A dict for each optimizer step: step, tokens, loss, lr, tokens_per_second, ..."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines]

    @property
    def report(self) -> Path:
        """The run's page, which a browser opens."""
        return Path(self.summary.report)

    def to_peft(self) -> object:
        """The base, from where it lies here, with the adapter as a `peft.PeftModel`, for inference.

        Raises RunError where the run has no adapter: it is not done, or trained the whole model.
        """
        if self.adapter is None or self.adapter.name != "adapter":
            raise RunError(
                f"{self.folder} has no adapter.",
                remedy="A `full` run's model is loaded by transformers, from the folder model/.",
            )
        from tunesmith.adapters.folder import read_origin
        from tunesmith.exports.compare_folder import has_peft, with_peft
        from tunesmith.models.names import known_folder
        from tunesmith.models.resolve import resolve
        from tunesmith.runs.locate import locate

        if not has_peft():
            raise RunError(
                "to_peft needs the package peft, which is not installed.",
                remedy="Install it with `pip install peft`.",
            )
        origin = read_origin(self.adapter)
        base = known_folder(origin.sha256) if origin else None
        return with_peft(
            self.adapter, base or resolve(locate(str(self.folder)).model), dtype="auto"
        )

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.verdict}>"

    def to_json(self) -> dict[str, object]:
        """What `train --json` prints."""
        from tunesmith.api.results import next_commands

        return {**self.summary.to_json(), "next": next_commands(self.summary)}

    def show(self, console: "Console") -> None:
        """Scores, costs, answers, and what comes next."""
        from tunesmith.api.results import show_result

        show_result(self.summary, console, warnings=self.notes)


def train(
    data: Data | None = None,
    *,
    resume: "str | Path | Run | None" = None,
    ranks: int = 1,
    require_verdict: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
    **keywords: Unpack[RunKeywords],
) -> Run:
    """Fine-tune on rows and evaluate the result; the run's folder holds everything.

    ``data``: a path or a list of them, a list of dicts, a `datasets.Dataset`, a table of pandas,
    polars or Arrow. ``keywords``: those of ``RunKeywords``. ``resume``: an interrupted run, its
    folder, or its mirror's URL, and nothing else. ``ranks``: processes of this machine that share
    the work, a power of two; each takes a GPU of its own, where there are any. ``require_verdict``
    refuses a run that would have none. ``on_event`` receives every event; ``progress`` shows a line
    with a bar (None: in a terminal and in a notebook).

    Raises ConfigError, DataError, ModelError and RunError for what cannot run, and Cancelled after
    Ctrl-C, with the run so far; it resumes by ``train(resume=...)``.

    >>> run = ts.train("rows.jsonl", method=ts.LoRA(rank=8), checks=["json"])  # doctest: +SKIP
    """
    named = resume.folder if isinstance(resume, Run) else resume
    with running(), config_unless(named, data, keywords) as config:
        folder = None if named is None else by_first(partial(_brought, named))
        is_a_name = is_named(keywords.get("model"))
        if ranks > 1:
            from tunesmith.api.ranked import require_ranks

            require_ranks(ranks, is_named=is_a_name)
        config = by_first(lambda: _refusable(folder, config, is_named=is_a_name))
        if require_verdict:
            by_first(lambda: _require_checks(folder, config))

        from tunesmith.runs.own_folder import placed, unfinished_before

        unfinished = None if config is None else by_first(lambda: unfinished_before(config))
        with placed(config) as made:

            def interrupted(display: "RunDisplay") -> str:
                return _resume_text(folder or display.run_folder or _begun(made))

            with working(
                STOPPING, stopped=interrupted, on_event=on_event, progress=progress
            ) as work:
                if unfinished is not None:
                    work.progress.notice("unfinished", _unfinished_text(unfinished))
                run = finished(_train(made, folder, ranks, work.progress), work)
    if run.summary.reason == "stopped":
        raise Cancelled(_resume_text(run.folder), run)
    return run


def _train(
    config: "RunConfig | None", folder: Path | None, ranks: int, progress: Progress
) -> "RunSummary":
    """Train a config, or resume the run in a folder, in as many processes as there are ranks."""
    from tunesmith.runs.model_choice import with_model
    from tunesmith.runs.run import resume_run, train_run

    if config is not None:
        start = partial(with_model, config, progress=progress)
        config = by_first(start, patient=True)
    if ranks > 1:
        from tunesmith.api.ranked import run_on_ranks

        return run_on_ranks(config or Path(folder or ""), ranks, progress)
    if config is not None:
        return train_run(config, progress=progress)
    assert folder is not None
    return resume_run(folder, progress=progress)


def _refusable(
    folder: Path | None, config: "RunConfig | None", *, is_named: bool
) -> "RunConfig | None":
    """The config, with the folder of a run that was begun before; else what files can refuse is.

    That is before heavy modules are imported.
    """
    from tunesmith.runs.folder import RunFolder
    from tunesmith.runs.inputs import require_inputs, require_rows
    from tunesmith.runs.own_folder import begun_before

    if folder is not None:
        RunFolder(folder).require_run()
    if config is None:
        return None
    if (begun := begun_before(config)) is not None:
        return config.model_copy(update={"out": str(begun)})
    require_inputs(config, is_named=is_named)
    require_rows(config.data)
    return config


def _require_checks(folder: Path | None, config: "RunConfig | None") -> None:
    from tunesmith.runs.folder import RunFolder

    if config is not None or folder is not None:
        require_checks(config or RunFolder(folder or Path()).read_config())


def _brought(run: str | Path) -> Path:
    """The folder of a run that is named, copied here first where it is named by its mirror."""
    if not is_remote(run):
        return Path(run)
    from tunesmith.runs.mirror import pulled

    return pulled(str(run), SILENT)


def folder_of(run: "str | Path | Run") -> Path:
    """The folder of a run, or the one that is named."""
    return run.folder if isinstance(run, Run) else Path(run)


def finished(summary: "RunSummary", work: Working) -> Run:
    """The run, its page drawn unless it was stopped, and its folder copied to its mirror."""
    from tunesmith.report.writing import draw_report
    from tunesmith.runs.mirror import copy_ended
    from tunesmith.runs.summary import end_trackers

    if not speaks():
        return Run(summary, work.notes)
    if summary.reason != "stopped":
        draw_report(Path(summary.run), work.emit)
        end_trackers(summary)
    copy_ended(Path(summary.run), work.progress)
    return Run(summary, work.notes)


def _begun(config: "RunConfig | None") -> Path | None:
    """The folder that was asked for, if the run got as far as to write its config."""
    out = Path(config.out) if config is not None and config.out is not None else None
    return out if out is not None and (out / "config.yaml").is_file() else None


def _unfinished_text(run: Path) -> str:
    command = f"tunesmith train --resume {shlex.quote(str(run))}"
    return f"the earlier run {run} was stopped, and this one starts anew; to resume it: {command}"


def _resume_text(run: Path | None) -> str:
    if run is None:
        return "Stopped at once. `tunesmith runs list` shows the run if it had begun."
    command = f"tunesmith train --resume {shlex.quote(str(run))}"
    return f"Stopped at once; what was saved before stays. To resume: {command}"


def open_run(folder: str | Path) -> Run:
    """A run that has ended, as `train` returned it.

    Raises RunError where the folder holds no run, or one that has not ended.

    >>> ts.open_run("runs/mine-lora").verdict  # doctest: +SKIP
    """
    from tunesmith.runs.folder import RunFolder
    from tunesmith.runs.summary import complete_summary

    files = RunFolder(Path(folder).expanduser())
    files.require_run()
    summary = complete_summary(files, files.read_config())
    if summary is None:
        raise RunError(
            f"{folder}: the run has not ended.",
            remedy=f"Resume it: tunesmith train --resume {shlex.quote(str(files.path))}",
        )
    return Run(summary, summary.notices)
