"""Where is the line between languages that a base reads and those that it does not?

    python -m benchmarks.languages.table              # tables in Markdown, from the kept results

A tokenizer is labelled by what its publisher says of the models that use it. Each language is left
out once: the threshold that errs least on the other languages is tried on it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.languages.measure import RESULTS
from tunesmith.data.quality.language_fit import (
    CLEAR_LOSS_TIMES,
    MAX_LOSS_TIMES,
    MAX_TOKENS_TIMES,
    MAX_UNNAMED_TIMES,
)

EIGHT = ("de", "en", "es", "fr", "hi", "it", "pt", "th")
COMMAND_R = (
    *("ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "zh"),
    *("el", "hi", "id", "nl", "pl", "ro", "ru", "tr", "vi"),
)
QWEN25 = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "vi", "zh")
# Languages that the publisher names, and whether it excludes the others (else they do not count).
LABELS: Mapping[str, tuple[Sequence[str], bool]] = {
    "smollm2-135m-instruct": (("en",), True),  # "primarily ... English"
    "gpt-neox": (("en",), True),  # GPT-NeoX-20B: "English-language only"
    "llama-spm": (("en",), True),  # Llama 2: other languages are out of scope
    "deepseek-llm": (("en", "zh"), True),  # trained on English and Chinese
    "falcon": (("de", "en", "es", "fr"), False),  # others "limited" or not at all
    "llama-bpe": (EIGHT, False),  # Llama 3.2
    "qwen2": (QWEN25, False),  # Qwen2.5: 13 of 29
    "command-r": (COMMAND_R, True),  # ten, and thirteen more in pretraining
}
UNSEEN_BY_FALCON = ("ar", "el", "hi", "id", "ja", "ko", "ru", "th", "tr", "vi", "zh")


@dataclass(frozen=True, slots=True)
class Cell:
    """A tokenizer on one sample of a language: whether it reads it, and the multiple of tokens."""

    tokenizer: str
    language: str
    reads: bool
    times: float


def read_rows(name: str) -> list[dict[str, str | float | None]]:
    """The kept results."""
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def cells() -> Iterator[Cell]:
    """Every labelled sample of another language than English."""
    for row in read_rows("tokens.jsonl"):
        tokenizer, language = str(row["tokenizer"]), str(row["language"])
        if tokenizer not in LABELS or language == "en":
            continue
        named, excludes = LABELS[tokenizer]
        is_excluded = excludes or (tokenizer == "falcon" and language in UNSEEN_BY_FALCON)
        if language in named or is_excluded:
            yield Cell(tokenizer, language, language in named, float(row["times"] or 0))


def best_threshold(some: Sequence[Cell]) -> float:
    """The middle of those with the least error; a false alarm counts twice: `train` finds more."""
    steps = np.arange(1.0, 4.0, 0.01)
    sums = np.array([np.dot((2, 1), error_rates(some, step)) for step in steps])
    return float(np.median(steps[sums <= sums.min() + 1e-9]))


def error_rates(some: Sequence[Cell], threshold: float) -> tuple[float, float]:
    """False alarms among those that read, misses among the others; 0 where there are none."""
    reads = [cell.times >= threshold for cell in some if cell.reads]
    others = [cell.times < threshold for cell in some if not cell.reads]
    return float(np.mean(reads)) if reads else 0.0, float(np.mean(others)) if others else 0.0


def main() -> None:
    """Print the tables."""
    _print_tokens()
    _print_thresholds(list(cells()))
    _print_losses()


def _print_tokens() -> None:
    by_cell: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows("tokens.jsonl"):
        by_cell[str(row["tokenizer"])][str(row["language"])].append(float(row["times"] or 0))
    languages = sorted({language for found in by_cell.values() for language in found})
    print(_line(("tokenizer", *languages)))
    print(_line(["---"] * (1 + len(languages))))
    for tokenizer, found in by_cell.items():
        each = [f"{np.mean(found[name]):.1f}" if name in found else "" for name in languages]
        print(_line((tokenizer, *each)))


def _print_thresholds(some: Sequence[Cell]) -> None:
    alarms, misses = error_rates(some, MAX_TOKENS_TIMES)
    counts = [sum(cell.reads is reads for cell in some) for reads in (True, False)]
    print(
        f"\nAt {MAX_TOKENS_TIMES}: false alarms {alarms:.1%} of {counts[0]}, misses {misses:.1%} "
        f"of {counts[1]} samples; least errors at {best_threshold(some):.2f}\n"
    )
    named = [cell for cell in some if not cell.reads and LABELS[cell.tokenizer][1]]
    _, misses = error_rates(named, MAX_UNNAMED_TIMES)
    print(
        f"At {MAX_UNNAMED_TIMES}, others not named: misses {misses:.1%} of {len(named)} samples\n"
    )
    print(_line(("left out", "threshold", "reads", "false alarms", "does not", "misses")))
    print(_line(["---"] * 6))
    totals = np.zeros(4)
    for language in sorted({cell.language for cell in some}):
        rest = [cell for cell in some if cell.language != language]
        own = [cell for cell in some if cell.language == language]
        threshold = best_threshold(rest)
        row = _counts(own, threshold)
        totals += row
        print(_line((language, f"{threshold:.2f}", *map(str, row))))
    print(_line(("all", "", *(f"{total:.0f}" for total in totals))))


def _counts(some: Sequence[Cell], threshold: float) -> tuple[int, int, int, int]:
    reads = [cell for cell in some if cell.reads]
    others = [cell for cell in some if not cell.reads]
    alarms = sum(cell.times >= threshold for cell in reads)
    return len(reads), alarms, len(others), sum(cell.times < threshold for cell in others)


def _print_losses() -> None:
    tokens = {
        (row["sample"], row["part"]): float(row["times"] or 0)
        for row in read_rows("tokens.jsonl")
        if row["tokenizer"] == "smollm2-135m-instruct"
    }
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in read_rows("losses.jsonl"):
        if row["times"] is not None:
            pair = (tokens[row["sample"], row["part"]], float(row["times"]))
            found[str(row["language"])].append(pair)
    print(
        f"\nA note: {MAX_LOSS_TIMES} times the loss; or {CLEAR_LOSS_TIMES} times, and "
        f"{MAX_UNNAMED_TIMES} times the tokens\n"
    )
    print(_line(("language", "samples", "tokens", "loss, least", "mean", "largest", "noted")))
    print(_line(["---"] * 7))
    for language, pairs in sorted(found.items()):
        times, losses = np.array(pairs).T
        each = (times.mean(), losses.min(), losses.mean(), losses.max())
        noted = sum(map(_is_noted, pairs))
        print(_line((language, str(len(pairs)), *(f"{x:.2f}" for x in each), str(noted))))


def _is_noted(pair: tuple[float, float]) -> bool:
    tokens, loss = pair
    return loss >= (CLEAR_LOSS_TIMES if tokens >= MAX_UNNAMED_TIMES else MAX_LOSS_TIMES)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
