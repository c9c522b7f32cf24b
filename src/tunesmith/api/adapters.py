"""`list_adapters`, `show_adapter`, `verify`: which adapters there are, and does one fit?"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.show import Outcome, line, paragraph, print_facts, print_table, show_next
from tunesmith.api.work import OnEvent, working
from tunesmith.core.numbers import bytes_text, count_text, percent, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.adapters.fit import Mismatch
    from tunesmith.runs.adapter_record import AdapterRecord
    from tunesmith.runs.fit import Verified

SHOWN_HASH, SHOWN_MISMATCHES = 12, 10
SHOWN_IN_LIST = 8  # letters of a hash
TITLES = ("adapter", "kind", "base", "hash", "rank", "size", "score", "from")
WHOLE = ("adapter", "kind", "base", "hash", "score")


@dataclass(frozen=True, slots=True)
class AdapterList(Outcome):
    """The adapters below a folder."""

    records: "Sequence[AdapterRecord]"
    root: Path

    def to_json(self) -> dict[str, object]:
        """What `adapters list --json` prints."""
        return {"adapters": [record.to_json() for record in self.records]}

    def show(self, console: "Console") -> None:
        """A table, what each is for, and those that cannot be read."""
        records, root = self.records, self.root
        if not records:
            paragraph(
                console, f"No adapters in {root}. `tunesmith demo` or `tunesmith train` makes one."
            )
            return
        sound = [record for record in records if record.fault is None]
        if sound:
            print_table(
                console, TITLES, rows=map(_row, sound), numbers=("rank", "size"), whole=WHOLE
            )
        purposes = [(each.name, each.goal or each.data or "") for each in sound]
        if known := [(name, text) for name, text in purposes if text]:
            paragraph(console, "\nWhat they are for", style="bold")
            print_facts(console, known)
        for record in records:
            if record.fault is not None:
                line(console, f"{record.name} cannot be read: {record.fault}", style="red")


def list_adapters(folders: Sequence[str | Path] = (), *, root: str | Path = "runs") -> AdapterList:
    """The adapters of all runs below ``root``, and those in further ``folders``."""
    from tunesmith.runs.adapter_record import list_adapters as find

    return AdapterList(find(Path(root), [Path(folder) for folder in folders]), Path(root))


def _row(record: "AdapterRecord") -> tuple[str, ...]:
    tokens = pluralize(record.virtual_tokens, "token") if record.virtual_tokens else ""
    return (
        record.name,
        record.kind,
        _last(record.base),
        (record.base_sha256 or "")[:SHOWN_IN_LIST],
        str(record.rank) if record.rank else tokens,
        bytes_text(record.bytes),
        _score_text(record),
        "run" if record.run else record.origin,
    )


def _last(base: str) -> str:
    return Path(base).name if base.startswith(("/", ".", "~")) else base


def _score_text(record: "AdapterRecord") -> str:
    return "" if record.score is None else f"{percent(record.score.score)} {record.score.check}"


@dataclass(frozen=True, slots=True)
class AdapterShown(Outcome):
    """Everything about one adapter that its files say."""

    record: "AdapterRecord"

    @property
    def is_good(self) -> bool:
        """Whether it can be read."""
        return self.record.fault is None

    def to_json(self) -> dict[str, object]:
        """What `adapters show --json` prints."""
        from tunesmith.runs.adapter_record import files_of, next_commands, settings_of

        record = self.record
        more = {"settings": settings_of(record), "files": files_of(record)}
        return {**record.to_json(), **more, "next": next_commands(record)}

    def show(self, console: "Console") -> None:
        """Its base, size, purpose, score, files, and what comes next."""
        from tunesmith.runs.adapter_record import files_of, next_commands, settings_of

        record = self.record
        settings, files = settings_of(record), files_of(record)
        line(console, str(record.folder), style="bold")
        if record.fault is not None:
            line(console, f"cannot be read: {record.fault}", style="red")
            return
        score, options = record.score, record.template_options
        interval = ""
        if score and score.low is not None and score.high is not None and score.n:
            limits = f"{100 * score.low:.0f}..{100 * score.high:.0f}"
            interval = f" (95 % interval {limits}, {pluralize(score.n, 'row')})"
        facts = [
            ("kind", record.kind),
            ("base", record.base),
            ("its SHA-256", record.base_sha256 or "unknown: known by its name alone"),
            ("size", f"{count_text(record.parameters)} parameters in {record.dtype}"),
            *((name, str(value)) for name, value in settings.items()),
            ("goal", record.goal or ""),
            ("system prompt", record.system or ""),
            ("template options", json.dumps(dict(options), ensure_ascii=False) if options else ""),
            ("data", record.data or ""),
            ("score", _score_text(record) + interval),
            ("from", record.origin),
            ("files", ", ".join(f"{name} ({bytes_text(size)})" for name, size in files.items())),
        ]
        print_facts(console, [(name, value) for name, value in facts if value])
        show_next(console, next_commands(record), title="Next")


def show_adapter(adapter: AdapterGiven, *, root: str | Path = "runs") -> AdapterShown:
    """One adapter: of a run, its name below ``root``, or an adapter's folder.

    Raises AdapterError for what is none.
    """
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(str(place_of(adapter)), Path(root))
    assert found.adapter is not None
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.runs.adapter_record import record_of

    return AdapterShown(record_of(found.adapter, Path(root)))


@dataclass(frozen=True, slots=True)
class AdapterFit(Outcome):
    """Whether an adapter fits a base, and everything in which it does not."""

    found: "Verified"

    @property
    def is_good(self) -> bool:
        """Whether it fits."""
        return self.found.fits

    def show(self, console: "Console") -> None:
        """What differs, by what would help."""
        verified = self.found
        name = f"{verified.base.name} ({verified.base.sha256[:SHOWN_HASH]})"
        if not verified.mismatches:
            line(console, f"{verified.adapter} fits {name}.", style="green")
            return
        verdict = "fits" if verified.fits else "does not fit"
        style = "yellow" if verified.fits else "bold red"
        line(console, f"{verified.adapter} {verdict} {name}:", style=style)
        groups: dict[str, list[Mismatch]] = defaultdict(list)
        for each in verified.mismatches:
            groups[each.remedy].append(each)
        for remedy, group in groups.items():
            for each in group[:SHOWN_MISMATCHES]:
                left = " (overridden by force)" if each.overridden else ""
                line(console, f"  {each.kind}: {each.message}{left}")
            if group[SHOWN_MISMATCHES:]:
                paragraph(
                    console, f"  ... and {len(group) - SHOWN_MISMATCHES:,} more (--json lists all)"
                )
            if remedy and not all(each.overridden for each in group):
                line(console, f"  -> {remedy}")


def verify(
    adapter: AdapterGiven,
    *,
    model: str | None = None,
    force: bool = False,
    root: str | Path = "runs",
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> AdapterFit:
    """Is an adapter as it was written, and does it fit its base, or ``model``?

    Compared are the SHA-256 of its files, the base's weights, tokenizer and config, layers and
    widths, and finite values. ``force``: a base whose name alone differs is the right one, and
    changed files are meant.
    """
    from tunesmith.runs.locate import find_adapter

    found = find_adapter(str(place_of(adapter)), Path(root))
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.runs.fit import verify_adapter

    with working(on_event=on_event, progress=progress) as work:
        return AdapterFit(verify_adapter(found, model, force=force, progress=work.progress))
