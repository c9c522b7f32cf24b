"""What `data check` prints: sizes, lengths, warnings, faults, and whether a run would begin."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tunesmith.cli.console import paragraph
from tunesmith.cli.quantities import duration_between
from tunesmith.cli.tables import print_table
from tunesmith.counts import many, percent

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault, Note
    from tunesmith.workflows.inspect_data import Inspection

SHOWN_LINES = 5
WIDEST_BAR = 40
SIZES = ("tokens", "supervised_tokens", "supervised_share", "longest")


def document_of(inspection: "Inspection") -> dict[str, object]:
    """One file for scripts."""
    lengths, estimate = inspection.lengths, inspection.estimate
    return {
        "file": inspection.file,
        "format": inspection.format,
        "format_reason": inspection.reason,
        "rows": inspection.rows,
        "left_out": inspection.left_out,
        **{name: _if_known(inspection, name) for name in SIZES},
        "lengths": lengths.to_json() if lengths else None,
        "training": estimate.to_json() if estimate else None,
        "faults": [fault_document(fault) for fault in inspection.faults.listed],
        "unlisted_faults": dict(inspection.faults.unlisted),
        "warnings": [
            {"code": w.code, "message": w.message, "count": w.count, "lines": lines_of(w)}
            for w in inspection.warnings
        ],
    }


def _if_known(inspection: "Inspection", name: str) -> object:
    """A size in tokens; null where the format is not known, so that none could be counted."""
    return None if inspection.format is None else getattr(inspection, name)


def fault_document(fault: "Fault") -> dict[str, object]:
    """One fault for scripts."""
    names = ("file", "line", "code", "message", "remedy")
    return {name: getattr(fault, name) for name in names}


def show_check(inspections: "Sequence[Inspection]", console: "Console") -> None:
    """Everything for a person."""
    for each in inspections:
        _show_sizes(each, console)
        for warning in each.warnings:
            paragraph(console, warning_text(warning), style="yellow")
    unlisted: Counter[str] = Counter()
    for each in inspections:
        unlisted.update(each.faults.unlisted)
    groups = _by_code(fault for each in inspections for fault in each.faults.listed)
    for code, group in groups.items():
        if len(groups) > 1:
            count = many(len(group) + unlisted[code], "fault")
            console.print(f"{code}: {count}", style="bold red")
        for fault in group:
            paragraph(console, str(fault), style="red")
        if unlisted[code]:
            told = f"... and {unlisted[code]:,} more `{code}`: the first {len(group):,} are listed"
            paragraph(console, told, style="bold red")
    faults = sum(each.faults.count for each in inspections)
    verdict = f"{many(faults, 'fault')}: a run would refuse this data." if faults else "No faults."
    warnings = sum(len(each.warnings) for each in inspections)
    told = f" {many(warnings, 'note')}: docs/data-quality.md explains them." if warnings else ""
    console.print(f"{verdict}{told}", style="bold")


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
    return f"note: {warning.message} ({many(warning.count, noun)}{where}) [{warning.code}]"


def _by_code(faults: "Iterable[Fault]") -> "dict[str, list[Fault]]":
    groups: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        groups[fault.code].append(fault)
    return groups


def _show_sizes(each: "Inspection", console: "Console") -> None:
    if each.format is None and not each.rows:
        return  # the fault of the file says it all
    if each.format is None:
        paragraph(console, f"{each.file}: format unknown, {many(each.rows, 'row')}")
        return
    share = f"{each.supervised_tokens:,} supervised, {percent(each.supervised_share)}"
    why = f" ({each.reason})" if each.reason else ""
    paragraph(
        console,
        f"{each.file}: format {each.format}{why}, {_rows(each)}, "
        f"{many(each.tokens, 'token')} ({share}, the longest row {each.longest:,})",
    )
    if each.lengths is not None and sum(each.lengths.counts) > 1:
        quantiles = each.lengths.quantiles
        paragraph(
            console,
            f"  lengths: half of the rows have up to {many(quantiles[50], 'token')}, "
            f"95 % up to {quantiles[95]:,}",
        )
        _show_histogram(each.lengths.edges, each.lengths.counts, console)
    if each.estimate is not None:
        told = each.estimate
        paragraph(
            console,
            f"  training: {many(told.tokens, 'token')}, "
            f"{duration_between(told.low, told.high)} of steps here (by {told.source})",
        )


def _rows(each: "Inspection") -> str:
    """`60 rows`, or `60 rows (10 of 70 left out)`."""
    out = f" ({each.left_out:,} of {each.rows + each.left_out:,} left out)" if each.left_out else ""
    return f"{many(each.rows, 'row')}{out}"


def _show_histogram(edges: Sequence[int], counts: Sequence[int], console: "Console") -> None:
    most = max(counts)
    rows = [
        (f"{low:,}", f"{high - 1:,}", f"{count:,}", "█" * -(-WIDEST_BAR * count // most))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    numbers = ("tokens from", "to", "rows")
    print_table(console, (*numbers, ""), rows=rows, numbers=numbers)
