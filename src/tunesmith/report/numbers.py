"""How shares, bytes and spans of time stand on a page, in every language alike."""

MINUS = "\N{MINUS SIGN}"


def signed(share: float) -> str:
    """`+4.1`: points, or percent of change."""
    return f"{100 * share:+.1f}".replace("-", MINUS)


def bytes_text(count: float) -> str:
    """`46 kB`, `19.6 MB`, `2.18 GB`, on one line."""
    for size, unit, digits in ((1e9, "GB", 2), (1e6, "MB", 1)):
        if count >= size:
            return f"{count / size:.{digits}f}\N{NO-BREAK SPACE}{unit}"
    return f"{count / 1e3:.0f}\N{NO-BREAK SPACE}kB"


def clock(seconds: float) -> str:
    """`4:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
