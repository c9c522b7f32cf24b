"""Whether there are enough rows for the method that is to learn from them."""

from collections.abc import Iterator

from tunesmith.data.quality.finding import Finding

# docs/data-quality.md says where each number comes from.
ENOUGH_ROWS = {"lora": 50, "qlora": 50, "prompt": 100, "p-tuning": 100, "full": 200}


def few_rows(rows: int, method: str) -> Iterator[Finding]:
    """Told of a training set with fewer rows than the method asks for."""
    enough = ENOUGH_ROWS[method]
    if rows < enough:
        what = f"few rows for {method}: from about {enough} on, results are steady"
        yield Finding("few_rows", what, count=rows)
