"""`check` and `split`: would a run take this data, and a part of it held out."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.settings import RunKeywords, config_given, is_named
from tunesmith.api.show import Outcome, line, paragraph, print_table, show_next
from tunesmith.api.sources import Data, one_file
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import duration_between, percent, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault, Note
    from tunesmith.data.read import SourceRequest
    from tunesmith.data.split_file import SplitDone
    from tunesmith.runs.inspection import Inspection

SHOWN_LINES = 5
WIDEST_BAR = 40
SIZES = ("tokens", "supervised_tokens", "supervised_share", "longest")


@dataclass(frozen=True, slots=True)
class DataCheck(Outcome):
    """What a run would refuse, what would train badly, sizes, and an estimate of the time."""

    found: "Sequence[Inspection]"

    @property
    def faults(self) -> "list[Fault]":
        """Every fault with its file, line and remedy, up to a thousand of a kind."""
        return [fault for each in self.found for fault in each.faults.listed]

    @property
    def is_good(self) -> bool:
        """Whether a run would take it."""
        return not self.faults

    def to_json(self) -> dict[str, object]:
        """What `data check --json` prints."""
        train, *held = self.found
        document = _document_of(train) | {"faults": [fault_document(each) for each in self.faults]}
        return document | ({"eval": _document_of(held[0])} if held else {})

    def show(self, console: "Console") -> None:
        """Sizes, notes, then the faults by kind."""
        for each in self.found:
            _show_sizes(each, console)
            for warning in each.warnings:
                paragraph(console, warning_text(warning), style="yellow")
        self._show_faults(console)
        faults = sum(each.faults.count for each in self.found)
        refused = f"{pluralize(faults, 'fault')}: a run would refuse this data."
        warnings = sum(len(each.warnings) for each in self.found)
        more = f" {pluralize(warnings, 'note')}: docs/data-quality.md explains them."
        line(
            console,
            f"{refused if faults else 'No faults.'}{more if warnings else ''}",
            style="bold",
        )

    def _show_faults(self, console: "Console") -> None:
        from tunesmith.data.faults import cause_text, causes

        unlisted: Counter[str] = Counter()
        for each in self.found:
            unlisted.update(each.faults.unlisted)
        groups: dict[str, list[Fault]] = defaultdict(list)
        for fault in self.faults:
            groups[fault.code].append(fault)
        for code, group in groups.items():
            if len(groups) > 1:
                count = pluralize(len(group) + unlisted[code], "fault")
                line(console, f"{code}: {count}", style="bold red")
            for cause in causes(group):
                paragraph(console, cause_text(cause), style="red")
            if unlisted[code]:
                more = (
                    f"... and {unlisted[code]:,} more `{code}`: the first {len(group):,} are listed"
                )
                paragraph(console, more, style="bold red")


def check(
    data: Data,
    *,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
    **keywords: Unpack[RunKeywords],
) -> DataCheck:
    """Every fault of the rows with its place and a remedy, and what would train badly.

    ``data`` and ``keywords`` are those of ``train``. Tokens are cached, so that the run need not
    make them again. Raises ConfigError for settings that cannot be.

    >>> ts.check("rows.jsonl").faults  # doctest: +SKIP
    """
    with (
        config_given(data, keywords) as config,
        working(on_event=on_event, progress=progress) as work,
    ):
        from tunesmith.runs.inputs import require_inputs

        require_inputs(config, is_named=is_named(keywords.get("model")), is_new=False)
        from tunesmith.runs.inspection import inspect_unknown

        if (found := inspect_unknown(config.data)) is not None:
            return DataCheck(found)
        from tunesmith.runs.inspect_data import inspect_data

        return DataCheck(inspect_data(config, progress=work.progress))


def _document_of(inspection: "Inspection") -> dict[str, object]:
    """One file's document."""
    lengths, estimate = inspection.lengths, inspection.estimate
    is_known = inspection.format is not None  # else no token could be counted
    return {
        "file": inspection.file,
        "format": inspection.format,
        "format_reason": inspection.reason,
        "rows": inspection.rows,
        "left_out": inspection.left_out,
        **{name: getattr(inspection, name) if is_known else None for name in SIZES},
        "lengths": lengths.to_json() if lengths else None,
        "training": estimate.to_json() if estimate else None,
        "faults": [fault_document(fault) for fault in inspection.faults.listed],
        "unlisted_faults": dict(inspection.faults.unlisted),
        "warnings": [
            {"code": w.code, "message": w.message, "count": w.count, "lines": lines_of(w)}
            for w in inspection.warnings
        ],
    }


def fault_document(fault: "Fault") -> dict[str, object]:
    """One fault's document."""
    names = ("file", "line", "code", "message", "remedy")
    return {name: getattr(fault, name) for name in names}


def lines_of(warning: "Note") -> list[int]:
    """The lines that it is about; none where it is about the file."""
    return [line for line in warning.lines if line]


def warning_text(warning: "Note") -> str:
    """`note: what it is (3 rows: line 1, 2, 9) [duplicates]`."""
    numbers = lines_of(warning)
    if warning.lines and not numbers:
        return f"note: {warning.message} [{warning.code}]"
    lines = ", ".join(map(str, numbers[:SHOWN_LINES]))
    more = ", ..." if len(numbers) > SHOWN_LINES else ""
    where = f": line {lines}{more}" if lines else ""
    noun = "line" if warning.code == "blank_line" else "row"
    return f"note: {warning.message} ({pluralize(warning.count, noun)}{where}) [{warning.code}]"


def _show_sizes(each: "Inspection", console: "Console") -> None:
    if each.format is None and not each.rows:
        return  # the fault of the file says it all
    if each.format is None:
        paragraph(console, f"{each.file}: format unknown, {pluralize(each.rows, 'row')}")
        return
    share = f"{each.supervised_tokens:,} supervised, {percent(each.supervised_share)}"
    why = f" ({each.reason})" if each.reason else ""
    out = f" ({each.left_out:,} of {each.rows + each.left_out:,} left out)" if each.left_out else ""
    paragraph(
        console,
        f"{each.file}: format {each.format}{why}, {pluralize(each.rows, 'row')}{out}, "
        f"{pluralize(each.tokens, 'token')} ({share}, the longest row {each.longest:,})",
    )
    if each.lengths is not None and sum(each.lengths.counts) > 1:
        quantiles = each.lengths.quantiles
        half = pluralize(quantiles[50], "token")
        text = f"half of the rows have up to {half}, 95 % up to {quantiles[95]:,}"
        paragraph(console, f"  lengths: {text}")
        _show_histogram(each.lengths.edges, each.lengths.counts, console)
    if (estimate := each.estimate) is not None:
        time = (
            f"{duration_between(estimate.low, estimate.high)} here "
            f"without the evaluation (by {estimate.source})"
        )
        paragraph(console, f"  training: {pluralize(estimate.tokens, 'token')}, {time}")


def _show_histogram(edges: Sequence[int], counts: Sequence[int], console: "Console") -> None:
    limit = max(counts)
    rows = [
        (f"{low:,}", f"{high - 1:,}", f"{count:,}", "█" * -(-WIDEST_BAR * count // limit))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    numbers = ("tokens from", "to", "rows")
    print_table(console, (*numbers, ""), rows=rows, numbers=numbers)


MAX_STRATA = 20


@dataclass(frozen=True, slots=True)
class SplitData(Outcome):
    """Two files, one to train on and one held out, and the command that comes next."""

    found: "SplitDone"
    next: str

    @property
    def train(self) -> Path:
        """The file to train on."""
        return Path(self.found.train)

    @property
    def eval(self) -> Path:
        """The file that is held out."""
        return Path(self.found.held)

    def to_json(self) -> dict[str, object]:
        """What `data split --json` prints."""
        return {**self.found.to_json(), "next": [self.next]}

    def show(self, console: "Console") -> None:
        """Sizes of both sides, also by stratum, and what comes next."""
        done = self.found
        train, held = done.rows
        together = f"{pluralize(done.groups, 'group')} of rows stayed together, the largest of"
        line(
            console,
            f"{pluralize(train, 'row')} to train on, {held:,} held out; {together} "
            f"{done.largest:,}.",
        )
        for note in done.notes:
            line(console, warning_text(note), style="yellow")
        if done.strata:
            names = sorted(done.strata, key=lambda name: -sum(done.strata[name]))
            rows = [(name, *(f"{n:,}" for n in done.strata[name])) for name in names[:MAX_STRATA]]
            print_table(console, ("", "train", "eval"), rows=rows, numbers=("train", "eval"))
            if len(names) > MAX_STRATA:
                line(console, f"and {len(names) - MAX_STRATA:,} more; --json lists all")
        console.print(f"{done.train}\n{done.held}", soft_wrap=True)
        show_next(console, [self.next])


def split(  # noqa: PLR0913  # one keyword for each setting
    data: Data,
    out: str | Path,
    *,
    share: float = 0.1,
    by: str = "cluster",
    stratify: str | None = None,
    seed: int = 0,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    encoding: str = "auto",
    delimiter: str | None = None,
    part: str | None = None,
    drop: str | Sequence[str] = (),
) -> SplitData:
    """Hold out a ``share`` of the rows in two files in the new folder ``out``.

    ``by``: cluster (what is nearly the same stays on one side), row, or a column whose values stay
    on one side. ``stratify``: about the same share of each value: answer, or a column. The choice
    depends on the rows and the seed, not on their order. ``drop``: `empty`, rows without a question
    or an answer. The others say how a file is read, as `data.*` of a config does. Raises DataError
    and UsageError.

    >>> ts.split("rows.jsonl", "parts", share=0.2)  # doctest: +SKIP
    """
    from tunesmith.data.read import SourceRequest
    from tunesmith.data.rows import ReadOptions
    from tunesmith.data.split_file import SplitSettings, split_data

    if not 0 < share < 1:
        raise UsageError(f"share must be above 0 and below 1 (given: {share:g}).")
    dropped = drop.split(",") if isinstance(drop, str) else drop
    if set(dropped) - {"empty"}:
        raise UsageError(
            f"A split drops rows that are empty, and no others (given: {', '.join(dropped)}).",
            remedy="Others are dropped by `tunesmith train --data.drop` from what it trains on.",
        )
    settings = SplitSettings(
        SourceRequest(
            one_file(data, "split"),
            format,
            dict(columns or {}),
            ReadOptions(encoding, delimiter, part),
            drop_empty=bool(dropped),
        ),
        str(out),
        share=share,
        by=by,
        stratify=stratify,
        seed=seed,
    )
    done = split_data(settings)
    done = replace(done, notes=(*done.notes, *_few(done, settings.asked)))
    words = ["--data", str(done.train), "--data.eval", str(done.held)]
    words += [] if format == "auto" or done.is_mapped else ["--data.format", format]
    return SplitData(done, f"tunesmith train {shlex.join(words)}")


def _few(done: "SplitDone", asked: "SourceRequest") -> "Iterator[Note]":
    """Few rows, steps (of a run with the default settings) and held-out rows."""
    from tunesmith.config.run import DataSettings, RunConfig
    from tunesmith.data.read import SourceRequest, scan_source
    from tunesmith.runs.enough import MAX_COUNTED, few_of_rows
    from tunesmith.runs.inspect_data import tokenizer_here

    train, held = done.rows
    config = RunConfig(data=DataSettings(train=str(done.train)))
    if train > MAX_COUNTED:
        yield from few_of_rows(config, (), held, tokenizer=None)
        return
    file = str(done.train)
    own = SourceRequest(file, *(() if done.is_mapped else (asked.format, asked.columns)))
    rows = scan_source(own).conversations
    yield from few_of_rows(config, rows, held, tokenizer=tokenizer_here(config.model))
