"""`evaluate`: did it work? A run, an adapter or a model on held-out rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.settings import CheckGiven, holding, is_named, overrides_of
from tunesmith.api.show import Document, Outcome, line, show_notes
from tunesmith.api.sources import Data, one_file
from tunesmith.api.train import Run, folder_of
from tunesmith.api.work import OnEvent, working
from tunesmith.core.progress import Cancelled

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.evaluated import EvaluatedTarget as Found

STOPPED = "Stopped; answers so far are kept."
KNOWN = "nothing that it rests on has changed since: this is that evaluation (--fresh asks again)"


@dataclass(frozen=True, slots=True)
class Evaluation(Outcome):
    """Scores of every arm, the verdict, and the other measures."""

    found: "Found"
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`yes`, `no` or `cannot tell`, with the reason."""
        return str((self.to_json().get("verdict") or {}).get("text", ""))

    def evaluations(self) -> dict[str, Document | None]:
        """The document, by the name of what was evaluated."""
        return {self.found.target: self.found.document}

    def to_json(self) -> Document:
        """What `evaluate --json` prints."""
        return self.found.document or {}

    def show(self, console: "Console") -> None:
        """The verdict, the table of arms, some answers."""
        from tunesmith.api.results import show_answers, show_evaluation

        show_evaluation(self.to_json(), console)
        show_answers(self.found.answers, console)
        show_notes(console, self.notes)
        if self.found.folder is not None:
            line(console, f"written: {self.found.folder / 'evaluation.json'}")


def evaluate(  # noqa: PLR0913  # what is evaluated, on what, how, and who hears of it
    target: "str | Path | Run | object",
    data: Data | None = None,
    *,
    checks: CheckGiven | Sequence[CheckGiven] | None = None,
    tokenizer: object = None,
    settings: Mapping[str, object] | None = None,
    out: str | Path | None = None,
    against: "str | Path | Run | None" = None,
    fresh: bool = False,
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Evaluate a run, an adapter's folder or a model on its held-out rows, or on ``data``.

    The base, the base with your long prompt, the base with examples and what was tuned answer the
    same rows; ``checks`` decide. ``settings``: keys of a run's config that an evaluation may
    change. Answers are cached, so that no question is answered twice, and a run that was evaluated
    so already is not evaluated again unless ``fresh``. ``against``: an earlier run, which is asked
    the same rows; the document then says whether the new one is better. It goes into ``out``, or
    into the run's folder.

    Raises ConfigError without checks or rows, RunError where the run has no result, Cancelled
    after Ctrl-C.

    >>> ts.evaluate("runs/mine", "other.jsonl").verdict  # doctest: +SKIP
    """
    model = target.folder if isinstance(target, Run) else target
    with holding({"model": model, "tokenizer": tokenizer}) as given:
        name = str(given["model"])
        keywords: dict[str, object] = {"settings": settings, "checks": checks}
        keywords |= {key: given[key] for key in ("dtype", "device") if key in given}
        overrides = overrides_of(None, keywords)
        file = None if data is None else one_file(data, "evaluate")
        from tunesmith.runs.inputs import require_target

        data_file = file
        place = None if out is None else Path(out)
        require_target(name, data_file, is_named=is_named(model))
        earlier = None if against is None else str(folder_of(against))
        known = None
        from tunesmith.runs.evaluated import known_evaluation, require_earlier

        if earlier is not None:
            require_earlier(earlier)
        if not fresh:
            known = known_evaluation(name, overrides, data=data_file, out=place)
        if known is not None and (earlier is None or known.knows_against(earlier)):
            return Evaluation(known, (KNOWN, *known.notes))
        with working(stopped=STOPPED, on_event=on_event, progress=progress) as work:
            from tunesmith.runs.evaluate import evaluate_target

            found = known or evaluate_target(
                name, overrides, data=data_file, out=place, progress=work.progress
            )
            if earlier is not None:
                from tunesmith.runs.against import with_against

                found = with_against(found, earlier, progress=work.progress)
            if found.document is not None and found.folder is not None:
                from tunesmith.report.writing import draw_report

                draw_report(found.folder, work.emit)
    if found.document is None:
        raise Cancelled(STOPPED, same_call=True)
    return Evaluation(found, work.notes)
