"""A count with its noun, and a share in percent, as every message writes them."""


def many(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float, digits: int = 0) -> str:
    """`43 %`, with so many digits behind the point."""
    return f"{100 * share:.{digits}f} %"
