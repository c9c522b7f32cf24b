"""`push_adapter`, `pull_adapter`: an adapter for others, by a hub, a folder or object storage."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.load import AdapterGiven, place_of
from tunesmith.api.show import (
    Document,
    Outcome,
    line,
    paragraph,
    print_table,
    show_next,
    show_notes,
)
from tunesmith.api.work import OnEvent, working
from tunesmith.core.errors import UsageError
from tunesmith.core.numbers import bytes_text, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.exports.pull import PulledAdapter
    from tunesmith.exports.push import PushPlan


@dataclass(frozen=True, slots=True)
class AdapterPushed(Outcome):
    """What went to a place, or would go; ``url`` None: nothing did."""

    plan: "PushPlan"
    url: str | None

    @property
    def is_good(self) -> bool:
        """Whether nothing stops it."""
        return not self.plan.stopping

    def to_json(self) -> Document:
        """What `adapters push --json` prints."""
        return {**self.plan.to_json(), "pushed": self.url is not None, "url": self.url}

    @property
    def card(self) -> str:
        """The card in Markdown, its head included."""
        return self.plan.card

    def show(self, console: "Console") -> None:
        """Files with their sizes, the card, and what is worth knowing; or where it is now."""
        plan = self.plan
        if self.url is not None:
            line(console, f"Pushed {plan.source} to {self.url}.", style="green")
            show_next(console, [f"tunesmith adapters pull {shlex.quote(plan.place.name)}"])
            return
        print_table(
            console,
            ("file", "size"),
            rows=[(name, bytes_text(size)) for name, size in plan.sizes.items()],
            numbers=("size",),
        )
        total = bytes_text(sum(plan.sizes.values()))
        files = pluralize(len(plan.sizes), "file")
        paragraph(console, f"{files}, {total}, to {self._where()}.")
        line(console, "\nThe card", style="bold")
        console.print(plan.card.rstrip(), soft_wrap=True)
        console.print()
        for each in plan.findings:
            line(console, f"{each.code}: {each.message}", style="red" if each.stops else "yellow")
        if plan.stopping:
            codes = dict.fromkeys(each.code for each in plan.stopping)
            allow = " ".join(f"--allow {code}" for code in codes)
            paragraph(console, f"This stops the push. To push it anyway: {allow}")

    def _where(self) -> str:
        plan = self.plan
        if plan.place.kind != "hub":
            return plan.place.name
        seen = "that everyone sees" if plan.settings.public else "that is private"
        return f"{plan.place.name}, a repository of the Hugging Face hub {seen}"


def push_adapter(  # noqa: PLR0913  # one keyword for each setting
    adapter: AdapterGiven,
    repo: str,
    *,
    dry_run: bool = False,
    public: bool = False,
    replace: bool = False,
    allow: Sequence[str] = (),
    report: bool = True,
    root: str | Path = "runs",
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> AdapterPushed:
    """Put a run's adapter (of `full` its model), its card and its report where others find them.

    ``repo``: OWNER/NAME of the Hugging Face hub, a folder, or a URL such as s3://bucket/name.
    ``dry_run``: only show what would go. ``public``: a hub's repository that everyone sees.
    ``replace``: in place of an earlier adapter in a folder or in storage; a hub keeps a history.
    ``allow``: what may go although it was found: `personal_data`, `secrets`. ``report``: whether
    the page goes, which shows held-out rows. The hub's token is huggingface_hub's own affair.

    Raises AdapterError for files that were changed and for what stops it, StorageError where the
    place cannot be written.

    >>> print(ts.push_adapter("runs/mine-lora", "acme/mine", dry_run=True))  # doctest: +SKIP
    """
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.exports.places import PushSettings, place_named
    from tunesmith.exports.push import STOPPING, plan_push, push, result_of

    if unknown := [code for code in allow if code not in STOPPING]:
        raise UsageError(
            f"Nothing that stops a push is called {', '.join(unknown)}.",
            remedy=f"Allow one of: {', '.join(STOPPING)}.",
        )
    folder, run = result_of(str(place_of(adapter)), Path(root))
    with working(on_event=on_event, progress=progress) as work:
        if run is not None and report and not (run.path / "report.html").is_file():
            from tunesmith.report.writing import draw_report

            draw_report(run.path, work.emit)
        settings = PushSettings(public=public, replace=replace)
        plan = plan_push(
            folder, run, place_named(repo), settings=settings, allow=allow, report=report
        )
        return AdapterPushed(plan, None if dry_run else push(plan))


@dataclass(frozen=True, slots=True)
class AdapterPulled(Outcome):
    """An adapter that was fetched."""

    found: "PulledAdapter"

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.found.folder

    def show(self, console: "Console") -> None:
        """Where it is, how much of it was verified, and what comes next."""
        found, files = self.found, pluralize(self.found.verified, "file")
        line(console, f"{found.place} is in {found.folder}.", style="green")
        if found.verified:
            line(console, f"{files} verified by SHA-256.")
        show_notes(console, found.notes)
        name = shlex.quote(str(found.folder))
        commands = [f"tunesmith adapters verify {name}", f"tunesmith chat {name}"]
        show_next(console, commands, title="Next")


def pull_adapter(
    repo: str,
    *,
    out: str | Path | None = None,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> AdapterPulled:
    """Fetch an adapter that was pushed, and verify the SHA-256 of each of its files.

    ``repo`` as for ``push_adapter``. ``out``: a new folder; None: one in the cache. Raises
    AdapterError for a file that is not as it was pushed, StorageError for what cannot be read.

    >>> ts.load(ts.pull_adapter("acme/mine").folder)  # doctest: +SKIP
    """
    from tunesmith.exports.places import place_named
    from tunesmith.exports.pull import pull

    with working(on_event=on_event, progress=progress) as work:
        place = None if out is None else Path(out)
        return AdapterPulled(pull(place_named(repo), place, progress=work.progress))
