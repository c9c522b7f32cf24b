"""How are counts, shares, bytes, durations and amounts of money written for people?"""


def many(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float, digits: int = 0) -> str:
    """`43 %`, with so many digits behind the point."""
    return f"{100 * share:.{digits}f} %"


MINUTE, HOUR = 60, 3600


def bytes_text(count: float) -> str:
    """`2.1 GB`: powers of 1000, as disks and `df -H` count."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size * 0.9995:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """`11 minutes`, `1 hour 20 minutes`, `40 seconds`."""
    if seconds < 1:
        return "less than a second"
    if round(seconds) < 2 * MINUTE:
        return many(round(seconds), "second")
    minutes = round(seconds / MINUTE)
    if minutes < 60:
        return many(minutes, "minute")
    hours, rest = divmod(minutes, 60)
    return many(hours, "hour") + (f" {many(rest, 'minute')}" if rest else "")


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


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


MINUS = "\N{MINUS SIGN}"


def signed(share: float) -> str:
    """`+4.1`: points, or percent of change."""
    return f"{100 * share:+.1f}".replace("-", MINUS)


def page_bytes(count: float) -> str:
    """`46 kB`, `19.6 MB`, `2.18 GB`, on one line."""
    for size, unit, digits in ((1e9, "GB", 2), (1e6, "MB", 1)):
        if count >= size:
            return f"{count / size:.{digits}f}\N{NO-BREAK SPACE}{unit}"
    return f"{count / 1e3:.0f}\N{NO-BREAK SPACE}kB"


def page_clock(seconds: float) -> str:
    """`4:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
