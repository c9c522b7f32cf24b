"""How are counts, shares, bytes, durations and amounts of money written for people?"""

from collections.abc import Callable

MINUS, DASH, NO_BREAK = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"


def pluralize(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float, digits: int = 0) -> str:
    """`43 %`, with so many digits after the point."""
    return f"{100 * share:.{digits}f} %"


MINUTE, HOUR = 60, 3600


def bytes_text(count: float, *, on_page: bool = False) -> str:
    """`2.1 GB`: powers of 1000, as disks and `df -H` count.

    On a page `2.18 GB`, as runs are compared there, and never wrapped.
    """
    space = NO_BREAK if on_page else " "
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size * 0.9995:
            value = count / size
            digits = 2 if on_page and value < 9.995 else 1
            return f"{_three_digits(value, digits)}{space}{unit}"
    return f"{count:.0f}{space}bytes"


def duration(seconds: float) -> str:
    """`11 minutes`, `1 hour 20 minutes`, `40 seconds`."""
    if seconds < 1:
        return "less than a second"
    if round(seconds) < 2 * MINUTE:
        return pluralize(round(seconds), "second")
    minutes = round(seconds / MINUTE)
    if minutes < 60:
        return pluralize(minutes, "minute")
    hours, rest = divmod(minutes, 60)
    return pluralize(hours, "hour") + (f" {pluralize(rest, 'minute')}" if rest else "")


def duration_between(low: float, high: float) -> str:
    """`1 to 3 minutes`, `40 seconds to 3 minutes`; one of them where both are the same."""
    first, last = duration(low), duration(high)
    number, _, unit = first.partition(" ")
    same_unit = last.removesuffix("s").endswith(unit.removesuffix("s")) and len(last.split()) == 2
    if first == last:
        return first
    return f"{number if same_unit and number.isdecimal() else first} to {last}"


def milliseconds(seconds: float) -> str:
    """`40 ms`, `1.2 s`, `64 s`."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def money(amount: float) -> str:
    """`1,234.50`, and small amounts with the digits that say something: `0.0049`."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.2g}"


def clock(seconds: float) -> str:
    """`4:05` or `1:02:03`, of one width while it runs."""
    minutes, rest = divmod(round(seconds), MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count_text(count: float) -> str:
    """`4.9 M`, `135 M`, `7.2 B`; small counts as they are."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if count >= size * 0.9995:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count:,.0f}"


def _three_digits(value: float, digits: int = 1) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """`+4.1`, with a minus as long as a plus."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def points(share: float, digits: int = 1) -> str:
    """`+4.1`: a share's change in points of per cent."""
    return signed(100 * share, digits)


def limits_text(low: float, high: float, form: Callable[[float], str] = percent) -> str:
    """`31 % – 56 %`: an interval, as pages show it."""
    return f"{form(low)} {DASH} {form(high)}"
