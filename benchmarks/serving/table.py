"""From the lines of results to a table: what was found beside what was asked for."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Line = dict[str, Any]
FLAT, MOST_MORE = 0.05, 2.0  # change of the resident memory; seconds after importing and loading


def report(lines: Sequence[Line]) -> str:
    """A row for each measurement, in the order of the groups."""
    rows = [
        f"| {what} | {found} | {asked} |"
        for group, describe in DESCRIBED.items()
        for line in lines
        if line["settings"]["group"] == group
        for what, found, asked in describe(line["settings"], line["found"])
    ]
    return "\n".join(["| what | found | asked for |", "|---|---|---|", *rows])


Rows = list[tuple[str, str, str]]


def _answers(settings: Line, found: Line) -> Rows:
    what = f"16 rows of 12 models, LoRA rank {settings['rank']}, {settings['dtype']}"
    asked = "all as alone" if settings["dtype"] == "float32" else "stated"
    return [(what, f"{found['same']} of {found['rows']} as each alone", asked)]


def _mix(settings: Line, found: Line) -> Rows:
    speed, ratios = found["tokens_per_second"], found["ratios"]
    rank = f"rank {settings['rank']}, bf16"
    asked = {"mix to base": "0.8x", "lora to peft": "3x"}
    words = {
        "mix to base": f"the mix beside base rows, {rank}",
        "lora to peft": f"16 LoRA rows beside PEFT's `adapter_names`, {rank}",
    }
    rows = []
    for name, (low, middle, high) in ratios.items():
        one, other = name.split(" to ")
        rates = f"{speed[one]:.0f} and {speed[other]:.0f} tokens/s"
        text = f"**{middle:.2f}x** ({low:.2f} to {high:.2f}); {rates}"
        rows.append((words[name], text, asked[name]))
    return rows


def _llama(_: Line, found: Line) -> Rows:
    return [
        (
            f"one merged model, {clients} clients: here and llama.cpp's server (bf16)",
            f"{each['tunesmith']:.0f} and {each['llama.cpp']:.0f} tokens/s, "
            f"{each['tunesmith'] / each['llama.cpp']:.2f}x",
            "stated",
        )
        for clients, each in found["tokens_per_second"].items()
    ]


def _same(_: Line, found: Line) -> Rows:
    gaps = [each["nats"] for each in found["differ"] if "nats" in each]
    more = f"; others part where two tokens are {max(gaps):.4f} nats apart or less" if gaps else ""
    text = f"{found['same']} of {found['questions']} the same{more}"
    return [("a trained adapter here and in llama.cpp's server (fp32)", text, "the same or ties")]


def _load(settings: Line, found: Line) -> Rows:
    first, memory = found["first_token_seconds"], found["resident_bytes_by_minute"]
    what = f"64 clients, {settings['minutes']:g} minutes"
    statuses = ", ".join(f"{n} of {status}" for status, n in sorted(found["statuses"].items()))
    rows = [
        (what, f"{statuses}; {found['error_count']} errors", "only 429"),
        (
            "the same: first token, p50 and p95",
            f"{first['p50']:.2f} s, {first['p95']:.2f} s",
            "stated",
        ),
    ]
    if len(memory) > 2:
        change = memory[-1] / memory[1] - 1
        text = f"{100 * change:+.1f} % ({memory[1] / 1e9:.2f} and {memory[-1] / 1e9:.2f} GB)"
        rows.append(
            ("the same: memory, last minute against the second", text, f"within {FLAT:.0%}")
        )
    return rows


def _leaving(_: Line, found: Line) -> Rows:
    more = found["tokens_after_leaving"]
    text = f"{min(more)} to {max(more)} tokens more, {len(more)} times"
    return [("a client leaves in mid-answer", text, "its row is free within one step")]


def _killed(_: Line, found: Line) -> Rows:
    parts = [
        f"{name} {statistics.median(found[f'{key}_seconds']):.1f} s"
        for name, key in (("answers after", "restart"), ("import", "import"), ("load", "load"))
    ]
    text = f"{', '.join(parts)}; {found['more']:.1f} s more than both"
    return [("kill -9, started again", text, f"at most {MOST_MORE:g} s more")]


def _schemas(_: Line, found: Line) -> Rows:
    wrong = len(found["invalid"])
    text = f"{found['ended'] - wrong} of {found['ended']} that ended; {found['cut']} were cut"
    return [(f"{found['answers']} answers under five schemas, valid", text, "all that are not cut")]


def _cost(_: Line, found: Line) -> Rows:
    held, free = (statistics.median(found["tokens_per_second"][k]) for k in ("with", "without"))
    text = f"{held:.0f} and {free:.0f} tokens/s, {100 * (1 - held / free):.0f} % slower"
    return [("16 clients with a schema and without", text, "stated")]


DESCRIBED: dict[str, Callable[[Line, Line], Rows]] = {
    "answers": _answers,
    "mix": _mix,
    "llama": _llama,
    "same": _same,
    "load": _load,
    "leaving": _leaving,
    "killed": _killed,
    "schemas": _schemas,
    "cost": _cost,
}
