"""docs/plan.md: its tables are what the plan says; `make docs` runs this to write them."""

import re
import statistics
from collections.abc import Iterator

from tests.published import PUBLISHED
from tests.source import ROOT
from tunesmith.config.methods import default_methods
from tunesmith.core.numbers import bytes_text, count_text, milliseconds, percent
from tunesmith.estimate.devices import find_devices, known_devices
from tunesmith.estimate.fitting import Wish
from tunesmith.estimate.memory import key_value_bytes
from tunesmith.estimate.plan import plan_method
from tunesmith.methods.sizes import trained_size
from tunesmith.runs.plan import known_shapes

PAGE = ROOT / "docs" / "plan.md"
ACCURACY = ROOT / "benchmarks" / "plan_accuracy.jsonl"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page() -> str:
    """The page's text as it should be: what is written around the tables stays."""
    text = PAGE.read_text(encoding="utf-8")
    return _BLOCK.sub(
        lambda found: "\n".join([found[1].rstrip(), *TABLES[found[2]](), found[3]]), text
    )


def table(titles: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table; the columns after the first are right-aligned where they are figures."""
    names = titles.split(" | ")
    yield f"| {titles} |"
    yield f"|{'|'.join('---' for _ in names)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def devices() -> Iterator[str]:
    """The table of devices."""
    rows = (
        (
            f"`{each.name}`",
            each.title,
            bytes_text(each.memory),
            f"{(each.bandwidth or 0) / 1e9:,.0f} GB/s",
            f"{each.rates[each.dtype] / 1e12:,.0f} TFLOP/s in {each.dtype}",
            each.source,
        )
        for each in known_devices()
    )
    return table("name | device | memory | bandwidth | dense products | source", rows)


def seventy() -> Iterator[str]:
    """70B by QLoRA on 8 cards of a kind."""
    shape, settings = known_shapes()["llama-3.1-70b"], default_methods()["qlora"]

    def rows() -> Iterator[tuple[str, ...]]:
        for device in find_devices("rtx-4090-24gb,l40s-48gb,a100-80gb,h100-80gb"):
            for ranks in (1, 8):
                wish = Wish(document=2048, tokens_per_step=16_384, ranks=ranks)
                found = plan_method(shape, "qlora", settings, device, wish)
                yield (
                    f"{ranks} x `{device.name}`",
                    "yes" if found.fits else "no",
                    bytes_text(found.peak_bytes),
                    "in parts" if found.sharded else "whole",
                    f"{found.tokens_per_micro_batch:,}, {found.recompute}",
                    f"{found.tokens_per_second:,.0f}" if found.fits else "-",
                )

    titles = (
        "cards | fits | peak of each | base | micro-batch, recompute | tokens/s (no card was run)"
    )
    return table(titles, rows())


def thousand() -> Iterator[str]:
    """1,000 adapters over one 8B base."""
    shape = known_shapes()["llama-3.1-8b"]
    base = 2 * shape.parameters
    cache = 16 * key_value_bytes(shape, 4096)

    def rows() -> Iterator[tuple[str, ...]]:
        for name, settings in default_methods().items():
            size = trained_size(settings, shape)
            if size.trains_base or name == "qlora":
                continue
            each = size.trained * 2  # as they are multiplied with, in 16 bit
            total = base + 1000 * each + cache
            yield (
                name,
                count_text(size.trained),
                bytes_text(size.stored * size.stored_bytes),
                bytes_text(1000 * size.stored * size.stored_bytes),
                bytes_text(1000 * each),
                bytes_text(total),
            )

    yield (
        f"Base {bytes_text(base)} in bfloat16, keys and values of 16 documents of 4,096 tokens "
        f"{bytes_text(cache)}."
    )
    yield ""
    yield from table(
        "method | numbers trained | one file | 1,000 files | 1,000 in memory, 16-bit | with base "
        "and cache",
        rows(),
    )


def largest() -> Iterator[str]:
    """A base of 400B from its config."""
    shape = known_shapes()["llama-3.1-405b"]

    def rows() -> Iterator[tuple[str, ...]]:
        for name, settings in default_methods().items():
            for device in find_devices("h100-80gb,h200-141gb,b200-180gb"):
                found = plan_method(shape, name, settings, device, Wish(document=2048, ranks=8))
                sharing = [text for text in found.changes if "rank" in text and "shard" in text]
                yield (
                    name,
                    f"8 x `{device.name}`",
                    "yes" if found.fits else "no",
                    bytes_text(found.peak_bytes),
                    bytes_text(found.adapter_bytes),
                    sharing[0] if sharing else "-",
                )

    return table("method | cards | fits | peak of each | adapter | would fit with", rows())


def published() -> Iterator[str]:
    """Figures of others beside ours."""
    rows = (
        (
            each.source,
            each.model,
            each.method,
            f"{each.tokens:,}",
            f"{each.gigabytes:g}",
            f"{each.ours:.1f}",
            f"{100 * (each.ratio - 1):+.0f} %",
            each.reason or "",
        )
        for each in PUBLISHED
    )
    titles = "source | base | method | tokens at once | GB published | GB here | difference | why"
    return table(titles, rows)


def accuracy() -> Iterator[str]:
    """Predicted against measured."""
    from benchmarks.plan_accuracy import compared

    errors: list[float] = []
    slow: list[float] = []

    def rows() -> Iterator[tuple[str, ...]]:
        for row, predicted, seconds in compared():
            made = row["combination"]
            error = predicted / row["peak_bytes"] - 1
            errors.append(abs(error))
            took, off = row["step_seconds"], None
            if took and seconds:
                off = seconds / took - 1
                slow.append(abs(off))
            yield (
                made["shape"],
                made["method"] + ("" if made["optimizer"] == "adamw" else f", {made['optimizer']}"),
                f"{made['tokens']:,} of {made['document']:,}",
                made["recompute"] + ("" if made["dtype"] == "bfloat16" else f", {made['dtype']}"),
                bytes_text(row["peak_bytes"], on_page=True).replace("\u00a0", " "),
                bytes_text(predicted, on_page=True).replace("\u00a0", " "),
                f"{100 * error:+.1f} %",
                "" if off is None or seconds is None else milliseconds(took),
                "" if off is None or seconds is None else f"{100 * off:+.0f} %",
            )

    yield from table(
        "base | method | tokens at once, of a document | recompute | measured | predicted | error "
        "| seconds a step | error",
        rows(),
    )
    yield ""
    yield _errors("Peak memory", errors)
    if slow:
        yield _errors("Seconds a step", slow)


def _errors(what: str, found: list[float]) -> str:
    middle, worst = statistics.median(found), max(found)
    errors = f"median error {percent(middle, 1)}, worst {percent(worst, 1)}"
    return f"{what}, {len(found)} combinations: {errors}."


TABLES = {
    each.__name__: each for each in (devices, seventy, thousand, largest, published, accuracy)
}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
