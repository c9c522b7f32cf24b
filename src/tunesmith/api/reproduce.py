"""`reproduce`: train a run anew with the same data, versions and seed; are the bytes the same?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.show import Outcome, line, paragraph, print_table, show_notes
from tunesmith.api.train import STOPPING, Run, folder_of
from tunesmith.api.work import OnEvent, working

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.reproduce import Reproduced

DIFFERS = 3  # the exit status, as of a verdict that is no
SHOWN_HASH = 12


@dataclass(frozen=True, slots=True)
class Reproduction(Outcome):
    """Whether a run came out the same, and what differs in what its bytes depend on."""

    found: "Reproduced"

    @property
    def same(self) -> bool | None:
        """Whether all bytes of the result are the same; None where nothing was trained."""
        return self.found.same

    @property
    def out(self) -> Path | None:
        """The folder of the repeat; None where nothing was trained."""
        return self.found.out

    @property
    def status(self) -> int:
        """0 for the same bytes, or for nothing that differs; else 3."""
        is_good = not self.found.differences if self.same is None else self.same
        return 0 if is_good else DIFFERS

    def show(self, console: "Console") -> None:
        """The answer, the files by their hashes, what differs, and what would undo it."""
        found = self.found
        if found.same:
            line(
                console, f"{found.run} came out the same: every byte of its result.", style="green"
            )
        elif found.same is False:
            line(console, f"{found.run} did not come out the same.", style="bold red")
        elif found.differences:
            line(console, f"{found.run} may not come out the same here.", style="yellow")
        else:
            line(console, f"{found.run}: nothing differs that is known to matter.", style="green")
        if found.files:
            rows = [(f.name, _short(f.then), _short(f.now)) for f in found.files]
            print_table(console, ("file", "then", "now"), rows=rows, whole=("then", "now"))
        self._show_differences(console)
        if found.install:
            line(console, f"The versions of then: {found.install}")
        if found.verdicts:
            then, now = found.verdicts
            line(console, f"the verdict: {then} then, {now} now")
        show_notes(console, found.notes)
        if found.out is not None:
            paragraph(console, f"The repeat is in {found.out}.")

    def _show_differences(self, console: "Console") -> None:
        found = self.found
        if found.differences:
            rows = [(each.what, each.then, each.now) for each in found.differences]
            print_table(console, ("differs", "then", "now"), rows=rows, words=("differs",))
        elif found.same is False:
            paragraph(
                console,
                "Nothing differs that is known to matter: versions, data, base, threads, date.",
            )
        if (parted := found.parted) is not None:
            numbers = f"{parted.then} then, {parted.now} now"
            paragraph(console, f"They part at step {parted.step}: its {parted.what} is {numbers}.")


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:SHOWN_HASH]}..."


def reproduce(  # noqa: PLR0913  # one keyword for each setting
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    check: bool = False,
    data: str | None = None,
    model: str | None = None,
    threads: int | None = None,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Reproduction:
    """Train a run anew into another folder, ``out`` or one beside it, and compare every byte.

    Config, plan, seed, threads and number format are those of the run; versions, processor, base,
    data and other files that it names are compared with its lock, and what differs is named.
    ``check``: only that, without training. ``data`` and ``model``: where rows and base lie now.
    ``threads``: another number than the run's. The run's own folder is not changed.

    Raises RunError for a run that has not ended, DataError and ModelError for rows and a base that
    are not here, Cancelled after Ctrl-C; the same call then resumes the repeat.

    >>> ts.reproduce("runs/mine-lora").same  # doctest: +SKIP
    """
    folder = folder_of(run)
    from tunesmith.runs.folder import RunFolder

    RunFolder(folder).require_run()
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.runs.reproduce import RepeatOrder, check_run, repeat_run

    order = RepeatOrder(None if out is None else Path(out), data, model, threads)
    stopped = "The repeat was stopped; what was saved before stays."
    with working(STOPPING, stopped=stopped, on_event=on_event, progress=progress) as work:
        call = check_run if check else repeat_run
        return Reproduction(call(folder, order, progress=work.progress))
