"""Which classes the tuned model takes for which: of every check that has a confusion matrix."""

from collections.abc import Iterator, Mapping, Sequence

from tunesmith.report.charts.plot import Plot
from tunesmith.report.records import Document
from tunesmith.words import Words

Counts = Mapping[str, Mapping[str, int]]  # rows by the wanted class, then by the given one
WIDEST = 10  # classes of a matrix that a page has room for; of more, the pairs are told
SHOWN_PAIRS = 20


def confusion_plots(evaluation: Document, words: Words) -> Iterator[Plot]:
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
            title=words.say("confusion.title", check=check),
            note=words.say(key, same=same, all=sum(sum(row.values()) for row in counts.values())),
            svg="",
            alt="",
            header=header,
            rows=rows,
        )


Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def _matrix(counts: Counts, given: Sequence[str], words: Words) -> Table:
    """A line for each wanted class, a column for each given one."""
    corner = f"{words.say('confusion.wanted')} \\ {words.say('confusion.given')}"
    rows = [
        (wanted, *(f"{row[name]:,}" if row.get(name) else "" for name in given))
        for wanted, row in counts.items()
    ]
    return (corner, *given), rows


def _pairs(counts: Counts, words: Words) -> Table:
    """The pairs that differ, the most frequent first."""
    pairs = [
        (wanted, name, n)
        for wanted, row in counts.items()
        for name, n in row.items()
        if name != wanted and n
    ]
    most = sorted(pairs, key=lambda pair: -pair[2])[:SHOWN_PAIRS]
    header = (words.say("confusion.wanted"), words.say("confusion.given"), words.say("column.rows"))
    return header, [(wanted, name, f"{n:,}") for wanted, name, n in most]
