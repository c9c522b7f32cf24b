"""`tunesmith adapters conflicts` and `adapters merge`: what clashes, and several made one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tunesmith.cli.command import Outcome, command
from tunesmith.cli.console import messages, stop_on_signal
from tunesmith.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.core.progress import Progress
    from tunesmith.studies.merge import Named

STOPPING = "stopping after these answers; press again to stop at once (what was answered stays)"
ROWS, MAX_DROP = 100, 10.0
_Made = TypeVar("_Made")
_Number = TypeVar("_Number", int, float)

Adapters = Annotated[
    list[str],
    typer.Argument(metavar="A B ...", help="Runs, or adapters' folders."),
]
SameBase = Annotated[
    bool, typer.Option("--force", help="Bases of which the names alone differ are the same one.")
]
Rows = Annotated[
    int, typer.Option(metavar="N", min=2, help="Held-out rows of each run that are asked, at most.")
]


@command
def conflicts(
    adapters: Adapters,
    scores: Annotated[
        bool | None,
        typer.Option(
            "--scores/--no-scores",
            show_default=False,
            help="Merge them by every method and measure what each costs on held-out rows. "
            "Unless told: where an adapter lies in a run with checks and held-out rows.",
        ),
    ] = None,
    rows: Rows = ROWS,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write all of it as an HTML page, too."),
    ] = None,
    force: SameBase = False,
) -> Outcome:
    """What clashes between adapters: layer by layer in their weights, and in what they answer.

    Each pair's cosine, signs and subspaces need the adapters alone. Scores need the base: each
    run's first check on its held-out rows, for the adapter alone and merged with the others.
    """
    if len(adapters) < 2:
        raise UsageError(
            "One adapter is named: it has nothing to clash with.", remedy="Name another one."
        )
    from tunesmith.cli.combine_display import show_conflicts
    from tunesmith.report.writing import write_page
    from tunesmith.studies.conflicts import find_conflicts
    from tunesmith.studies.merge import named

    given = {"rows": rows if rows != ROWS else None, "page": page}
    again = ["adapters", "conflicts", *adapters, *["--scores"] * (scores is True), *_flags(given)]
    again += ["--force"] * force
    found = _told(
        lambda progress: find_conflicts(
            named(adapters, force=force), scores=scores, rows=rows, progress=progress
        ),
        again=again,
    )
    document = found.to_json()
    if page is not None:
        document = {**document, "page": str(write_page(document, page))}
    return Outcome(document, show=lambda console: show_conflicts(found, page, console))


@command
def merge(  # noqa: PLR0913  # one parameter for each flag
    adapters: Adapters,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", readable=False, help="A new folder for the adapter.")
    ],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="linear, magnitude, ties, dare, dare-ties, sce or knots."
        ),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto",
            help="Try the methods, measure what each costs on held-out rows of the runs, and take "
            "the one whose worst drop is smallest.",
        ),
    ] = False,
    weights: Annotated[
        str, typer.Option(metavar="W,W", help="What each adapter counts; 1 unless given.")
    ] = "",
    density: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="Of entries kept; the method's own unless given. --auto: several."
        ),
    ] = "",
    rank: Annotated[
        str,
        typer.Option(
            metavar="R", help="At most; that of all together unless given. --auto: several."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of what a method draws.")] = 0,
    rows: Rows = ROWS,
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            min=0,
            max=100,
            help="What --auto may cost the score of any adapter; more is refused.",
        ),
    ] = MAX_DROP,
    force: SameBase = False,
) -> Outcome:
    """Adapters of one base, made one: by a method, or by the one that keeps most of each skill.

    The result is a LoRA in PEFT's format. What its rank loses of the combination is told; --auto
    refuses what would cost an adapter too much.
    """
    from tunesmith.cli.combine_display import refused, show_merged
    from tunesmith.studies.merge import NothingKeepsAll, combine_best, named

    _require_one_way(adapters, method, auto=auto)
    densities, ranks = _numbers("density", density, float), _numbers("rank", rank, int)
    wanted = named(adapters, _numbers("weights", weights, float), seed=seed, force=force)
    if not auto:
        again = ["adapters", "merge", *adapters, "--out", str(out), *_flags({"method": method})]
        return _by_method(wanted, out, method or "linear", densities, ranks, again=again)
    given = {"weights": weights, "density": density, "rank": rank, "seed": seed or None}
    given |= {"rows": rows if rows != ROWS else None}
    given |= {"max-drop": f"{max_drop:g}" if max_drop != MAX_DROP else None}
    again = ["adapters", "merge", *adapters, "--auto", "--out", str(out), *_flags(given)]
    again += ["--force"] * force
    try:
        made = _told(
            lambda progress: combine_best(
                wanted,
                out,
                densities=densities,
                ranks=ranks,
                rows=rows,
                max_drop=max_drop,
                progress=progress,
            ),
            again=again,
        )
    except NothingKeepsAll as refusal:
        return refused(refusal)
    return Outcome(made.to_json(), show=lambda console: show_merged(made, console))


def _require_one_way(adapters: list[str], method: str | None, *, auto: bool) -> None:
    """A single adapter needs no method: all give it as it is."""
    if auto and method is not None:
        raise UsageError("--auto chooses the method: leave --method out, or --auto.")
    if not auto and method is None and len(adapters) > 1:
        raise UsageError(
            "How are they combined?",
            remedy="Say --auto, which measures, or name a way, as in --method ties.",
        )


def _by_method(
    wanted: "Named",
    out: Path,
    method: str,
    densities: list[float],
    ranks: list[int],
    *,
    again: list[str],
) -> Outcome:
    from tunesmith.cli.combine_display import show_merged
    from tunesmith.studies.merge import combine

    for flag, values in (("density", densities), ("rank", ranks)):
        if len(values) > 1:
            raise UsageError(f"--{flag} has several values, of which --auto could choose.")
    made = _told(
        lambda progress: combine(
            wanted,
            out,
            kind=method,
            density=densities[0] if densities else None,
            rank=ranks[0] if ranks else None,
            progress=progress,
        ),
        again=again,
    )
    return Outcome(made.to_json(), show=lambda console: show_merged(made, console))


def _numbers(flag: str, text: str, kind: type[_Number]) -> list[_Number]:
    """`0.2,0.5` as numbers."""
    try:
        return [kind(part) for part in text.split(",") if text.strip()]
    except ValueError:
        example = "16,32" if kind is int else "1,0.5"
        raise UsageError(
            f"--{flag} {text}: these are no numbers.", remedy=f"Write --{flag} {example}."
        ) from None


def _flags(given: "Mapping[str, object]") -> list[str]:
    """Flags and their values, for a line that can be typed again; empty values are left out."""
    pairs = [(f"--{flag}", str(value)) for flag, value in given.items() if value not in ("", None)]
    return [word for pair in pairs for word in pair]


def _told(work: "Callable[[Progress], _Made]", *, again: list[str]) -> _Made:
    """Do what takes long, shown as it goes; Ctrl-C says how to go on."""
    from tunesmith.cli.progress_display import RunDisplay
    from tunesmith.core.progress import Progress

    go_on = shlex.join(["tunesmith", *again])
    with RunDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            return work(Progress(display, cancelled=stop))
        except KeyboardInterrupt:
            said = f"Stopped; nothing is written, answers are kept. To go on from them: {go_on}"
            raise KeyboardInterrupt(said) from None
