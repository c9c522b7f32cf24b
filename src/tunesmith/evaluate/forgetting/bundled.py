"""Which probes come with the package? Small ones with open licences (probes/README.md)."""

from importlib.resources import files
from pathlib import Path

from tunesmith.evaluate.forgetting.read import Probe, read_probe

NAMES = ("arc_easy", "piqa", "copa", "wikitext")


def bundled(name: str) -> Probe:
    """A probe of `NAMES`."""
    return read_probe(
        Path(str(files("tunesmith.evaluate.forgetting") / "probes" / f"{name}.jsonl"))
    )
