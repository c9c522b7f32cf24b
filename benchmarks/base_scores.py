"""The default base's scores of the bundled probes, as the package brings them.

    python -m benchmarks.base_scores

Run when a probe or the way in which it is scored changes.
"""

import json
from pathlib import Path
from typing import Literal

from benchmarks.methods.measure import MODEL
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.evaluation import base_scores
from tunesmith.evaluation.base_scores import name_of_spans, packed
from tunesmith.evaluation.likelihoods import log_likelihoods
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.models.hashes import COMBINED, hash_folder

FILE = Path(base_scores.__file__).parent / base_scores.BROUGHT
DTYPES: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")


def main() -> None:
    """Score them anew in both number formats, each look by itself as a run does."""
    found: dict[str, dict[str, str]] = {}
    sha256 = ""
    for dtype in DTYPES:
        loaded = open_base(MODEL, dtype=dtype)
        sha256 = hash_folder(loaded.base.folder)[COMBINED]
        probing = ProbeRun(loaded, ForgettingSettings())
        scored = {}
        for look in probing.spans_by_look():
            every = [span for spans in look for span in spans]
            (logs,) = log_likelihoods(loaded.engine, every, [None])
            rest = iter(logs)
            for spans in look:
                scored[name_of_spans(spans)] = packed([next(rest) for _ in spans])
        found[str(loaded.base.dtype)] = scored
    text = json.dumps({sha256: found}, separators=(",", ":"))
    FILE.write_text(text + "\n", encoding="utf-8")
    print(FILE, FILE.stat().st_size, "bytes,", {name: len(each) for name, each in found.items()})


if __name__ == "__main__":
    main()
