"""What every arm passes, confuses, repeats and costs: a plot for each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.plain_verdict import is_graded
from tunesmith.report.plot import (
    AROUND,
    COLOURS,
    ROW,
    Bar,
    Plot,
    draw_svg,
    interval_svg,
    listed,
    score_bar,
)
from tunesmith.runs.history import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ORDER = ("tuned", "prompted", "examples", "base")
HOSTED = "hosted"  # the colour of every further arm


def in_order(arms: Iterable[str]) -> list[str]:
    """The arms in the order of the page: those of every run, then the hosted models."""
    known = list(arms)
    return [*(a for a in ORDER if a in known), *(a for a in known if a not in ORDER)]


def arm_label(arm: str, words: Phrases) -> str:
    """What a page calls an arm; a hosted model has the name that the user gave it."""
    return words.phrase_or(f"arm.{arm}", arm)


def _arm_bar(arm: str, found: Document, words: Phrases, *, measure: str = "") -> Bar:
    label = f"{measure}: {arm_label(arm, words)}" if measure else arm_label(arm, words)
    return score_bar(label, found, arm if arm in ORDER else HOSTED)


def arms_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """One plot for each check; the first one decides the verdict."""
    arms = evaluation.get("arms") or {}
    names = dict.fromkeys(name for arm in arms.values() for name in arm.get("checks", {}))
    degenerate = list(_degenerate_note(evaluation, words))
    for number, name in enumerate(names):
        found = {arm: arms[arm].get("checks", {}).get(name) or {} for arm in in_order(arms)}
        scored = {arm: each for arm, each in found.items() if each.get("score") is not None}
        bars = [_arm_bar(arm, each, words) for arm, each in scored.items()]
        if not bars:
            continue
        counts = [f"{each.get('n') or 0:,}" for each in scored.values()]
        kind = "graded" if any(map(is_graded, scored.values())) else "title"
        notes = [*_notes(found, is_first=number == 0 and len(names) > 1, words=words), *degenerate]
        yield Plot(
            name=f"arms-{number}",
            title=words.phrase(f"arms.{kind}", check=name),
            note=" ".join(notes),
            svg=interval_svg(f"arms-{number}", bars, axis=words.phrase("arms.axis")),
            alt=words.phrase("arms.alt", check=name, list=listed(bars)),
            header=[words.phrase(f"column.{key}") for key in ("arm", "score", "interval", "rows")],
            rows=[(*bar.row, count) for bar, count in zip(bars, counts, strict=True)],
        )


def _notes(found: Mapping[str, Document], *, is_first: bool, words: Phrases) -> Iterator[str]:
    """Whether the check decides, and each figure that it has beside its score, of every arm."""
    if is_first:
        yield words.phrase("arms.decides")
    figures = {arm: each.get("figures") or {} for arm, each in found.items()}
    for figure in dict.fromkeys(key for each in figures.values() for key in each):
        values = [
            f"{arm_label(arm, words)} {each[figure]:.2f}"
            for arm, each in figures.items()
            if isinstance(each.get(figure), int | float)
        ]
        if values:
            title = words.phrase_or(f"figure.{figure}", figure.replace("_", " "))
            yield f"{title}: {', '.join(values)}."


KINDS = ("any", "itself", "question", "one_for_all")


def _degenerate_bars(evaluation: Document, words: Phrases, kind: str) -> list[Bar]:
    """The rate of each arm and of the data's own answers."""
    part = evaluation.get("degeneration") or {}
    arms = part.get("arms", {})
    rates = {arm: arms[arm].get(kind) for arm in in_order(arms)}
    bars = [_arm_bar(arm, each, words) for arm, each in rates.items() if each]
    if bars:
        own = part["references"][kind]
        bars.append(score_bar(words.phrase("degeneration.references"), own))
    return bars


def _degenerate_note(evaluation: Document, words: Phrases) -> Iterator[str]:
    """What share of the answers that a check scored is degenerate, in each arm."""
    if bars := _degenerate_bars(evaluation, words, KINDS[0]):
        yield words.phrase("degeneration.note", list=listed(bars))


def degeneration_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """One plot of all kinds that some answer is of; none unless clearly more of them are than of
    the data's own: else a note has the rates.
    """
    if not (evaluation.get("degeneration") or {}).get("found"):
        return
    kinds = {kind: _degenerate_bars(evaluation, words, kind) for kind in KINDS}
    bars = [
        replace(bar, label=f"{words.phrase(f'degeneration.{kind}')}: {bar.label}")
        for kind, each in kinds.items()
        if any(bar.value for bar in each)
        for bar in each
    ]
    if bars:
        yield Plot(
            name="degeneration",
            title=words.phrase("degeneration.title"),
            svg=interval_svg("degeneration", bars, axis=words.phrase("degeneration.axis")),
            alt=words.phrase("degeneration.alt", list=listed(bars)),
            header=[words.phrase(f"column.{key}") for key in ("measure", "score", "interval")],
            rows=[bar.row for bar in bars],
        )


Counts = Mapping[str, Mapping[str, int]]  # rows by the wanted class, then by the given one
WIDEST = 10  # classes of a matrix that a page has room for; of more, the pairs are listed
SHOWN_PAIRS = 20


def confusion_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """A table for each check: the matrix, or the pairs that are confused most often."""
    checks = ((evaluation.get("arms") or {}).get("tuned") or {}).get("checks") or {}
    for number, (check, found) in enumerate(checks.items()):
        counts: Counts = (found.get("figures") or {}).get("confusion") or {}
        if not counts:
            continue
        given = list(dict.fromkeys([*counts, *(name for row in counts.values() for name in row)]))
        is_matrix = len(given) <= WIDEST
        same = sum(row.get(wanted, 0) for wanted, row in counts.items())
        key = "confusion.note" if is_matrix else "confusion.pairs"
        header, rows = _matrix(counts, given, words) if is_matrix else _pairs(counts, words)
        yield Plot(
            name=f"confusion-{number}",
            title=words.phrase("confusion.title", check=check),
            note=words.phrase(
                key, same=same, all=sum(sum(row.values()) for row in counts.values())
            ),
            header=header,
            rows=rows,
        )


Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def _matrix(counts: Counts, given: Sequence[str], words: Phrases) -> Table:
    """A line for each wanted class, a column for each given one."""
    corner = f"{words.phrase('confusion.wanted')} \\ {words.phrase('confusion.given')}"
    rows = [
        (wanted, *(f"{row[name]:,}" if row.get(name) else "" for name in given))
        for wanted, row in counts.items()
    ]
    return (corner, *given), rows


def _pairs(counts: Counts, words: Phrases) -> Table:
    """The pairs that differ, the most frequent first."""
    pairs = [
        (wanted, name, n)
        for wanted, row in counts.items()
        for name, n in row.items()
        if name != wanted and n
    ]
    limit = sorted(pairs, key=lambda pair: -pair[2])[:SHOWN_PAIRS]
    header = (
        words.phrase("confusion.wanted"),
        words.phrase("confusion.given"),
        words.phrase("column.rows"),
    )
    return header, [(wanted, name, f"{n:,}") for wanted, name, n in limit]


WAYS = ("samples", "paraphrases")


def consistency_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """One plot for each way of asking again: the measures of each arm, those of one together."""
    for way in WAYS:
        found = (evaluation.get("consistency") or {}).get(way)
        if found and (bars := list(_bars(found["arms"], words))):
            yield _consistency_plot(way, found["questions"], bars, words)


def _bars(arms: Document, words: Phrases) -> Iterator[Bar]:
    measures = dict.fromkeys(name for arm in arms.values() for name in arm)
    for measure in measures:
        for arm in in_order(arms):
            if (one := arms[arm].get(measure)) and one["score"] is not None:
                yield _arm_bar(arm, one, words, measure=words.phrase(f"consistency.{measure}"))


def _consistency_plot(way: str, questions: int, bars: list[Bar], words: Phrases) -> Plot:
    name = f"consistency-{way}"
    return Plot(
        name=name,
        title=words.phrase(f"{name}.title"),
        note=words.phrase(f"{name}.note", questions),
        svg=interval_svg(name, bars, axis=words.phrase("consistency.axis")),
        alt=words.phrase(f"{name}.alt", list=listed(bars)),
        header=[words.phrase(f"column.{key}") for key in ("measure", "score", "interval")],
        rows=[bar.row for bar in bars],
    )


DIGITS = {  # by the measure
    "prompt_tokens": ",.0f",
    "seconds_per_answer": ".2f",
    "cost_per_million_requests": ",.2f",
}


def request_plots(evaluation: Document, words: Phrases) -> Iterator[Plot]:
    """One plot for each measure that the arms have."""
    arms = evaluation.get("arms") or {}
    for measure in DIGITS:
        found = {arm: arms[arm].get(measure) for arm in in_order(arms)}
        known = {arm: float(value) for arm, value in found.items() if value is not None}
        if known:
            yield _request_plot(measure, known, words)


def _request_plot(measure: str, values: dict[str, float], words: Phrases) -> Plot:
    name, form = measure.replace("_", "-"), DIGITS[measure]
    labels = {arm: arm_label(arm, words) for arm in values}

    def draw(axes: "Axes") -> None:
        for y, (arm, value) in enumerate(reversed(values.items())):
            colour = COLOURS[arm if arm in ORDER else HOSTED]
            axes.barh(y, value, height=0.55, color=colour)
            axes.annotate(
                format(value, form),
                (value, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(range(len(values)), [labels[arm] for arm in reversed(values)])
        axes.set_xlabel(words.phrase(f"{name}.axis"))
        axes.set_xlim(0, 1.12 * max(max(values.values()), 1e-9))
        axes.grid(visible=False, axis="y")

    says = ", ".join(f"{labels[arm]} {value:{form}}" for arm, value in values.items())
    return Plot(
        name=name,
        title=words.phrase(f"{name}.title"),
        note=words.phrase(f"{name}.note"),
        svg=draw_svg(draw, height=AROUND + ROW * len(values), name=name),
        alt=words.phrase(f"{name}.alt", list=says),
        header=[words.phrase("column.arm"), words.phrase(f"{name}.axis")],
        rows=[(labels[arm], format(value, form)) for arm, value in values.items()],
    )
