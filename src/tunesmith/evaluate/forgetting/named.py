"""Which probes are meant by their names? Bundled ones, files, and tasks of lm-eval."""

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.evaluate.forgetting.lm_eval_task import lm_eval_probes
from tunesmith.evaluate.forgetting.read import Probe, read_probe

DEFAULT = "default"
BUNDLED = ("arc_easy", "piqa", "copa", "wikitext")  # probes/README.md
LM_EVAL = "lm_eval:"


def probes_named(names: Sequence[str]) -> tuple[Probe, ...]:
    """The probes in the order of their names; ConfigError with every fault of every one."""
    probes: list[Probe] = []
    faults: list[str] = []
    for name in names:
        try:
            probes += _named(name)
        except TunesmithError as error:
            faults.append(str(error))
    counts = Counter(probe.name for probe in probes)
    faults += [
        f"evaluate.forgetting.probes: more than one probe is called {name}."
        for name, count in counts.items()
        if count > 1
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(probes)


def _named(name: str) -> Iterator[Probe]:
    if name == DEFAULT:
        yield from (_bundled(each) for each in BUNDLED)
    elif name in BUNDLED:
        yield _bundled(name)
    elif name.startswith(LM_EVAL):
        yield from lm_eval_probes(name.removeprefix(LM_EVAL))
    elif Path(name).suffix or Path(name).exists():
        yield read_probe(Path(name))
    else:
        raise ConfigError(
            f"evaluate.forgetting.probes: there is no probe `{name}`.",
            remedy=f"Bundled are {', '.join(BUNDLED)}, all of them `{DEFAULT}`; a file is named by "
            f"its path; a task of lm-eval is {LM_EVAL}NAME.",
        )


def _bundled(name: str) -> Probe:
    return read_probe(
        Path(str(files("tunesmith.evaluate.forgetting") / "probes" / f"{name}.jsonl"))
    )
