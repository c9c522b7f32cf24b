"""`tunesmith doctor`: this machine on one page."""

from collections.abc import Iterator, Mapping
from typing import cast

from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.quantities import bytes_text
from tunesmith.cli.tables import print_facts
from tunesmith.counts import many

Facts = Mapping[str, object]


@command
def doctor() -> Outcome:
    """Processor, memory, GPU, cache and versions: one page for a bug report."""
    from tunesmith.workflows.doctor import examine

    facts = examine()
    return Outcome(facts, show=lambda console: print_facts(console, _lines(facts)))


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    processor, memory, cache = (cast(Facts, facts[key]) for key in ("processor", "memory", "cache"))
    formats = cast("list[str]", processor["bfloat16"])
    threads = many(cast(int, processor["threads"]), "thread")
    yield "platform", str(facts["platform"])
    yield "processor", f"{processor['name']} ({processor['architecture']})"
    cores = f"{processor['cores']}, usable {processor['usable_cores']}"
    yield "cores", f"{cores}, torch uses {threads}"
    yield "instructions", f"{processor['instructions']}; bf16: {', '.join(formats) or 'none'}"
    yield "number format", str(cast(Facts, facts["dtype"])["reason"])
    total, available = _size(memory["total_bytes"]), _size(memory["available_bytes"])
    yield "memory", f"{total}, of which a run may take {available} now"
    gpus = cast("list[Facts]", facts["gpus"])
    for gpu in gpus:
        yield "GPU", f"{gpu['name']}, {_size(gpu['bytes'])}, {gpu['bfloat16']}"
    if not gpus:
        yield "GPU", "none that torch can use"
    yield "cache", f"{cache['folder']}, {_size(cache['bytes'])}"
    models = cast("list[str]", cache["models"])
    yield "cached models", ", ".join(models) or "none (`tunesmith model pull NAME`)"
    disk = cast(Facts, facts["disk"])
    yield "disk", f"{_size(disk['free_bytes'])} free in {disk['folder']}"
    versions = cast("Mapping[str, str | None]", facts["versions"])
    yield "versions", ", ".join(f"{name} {v or 'not installed'}" for name, v in versions.items())
    yield "python", str(facts["python"])


def _size(count: object) -> str:
    return bytes_text(count) if isinstance(count, int) else "unknown"
