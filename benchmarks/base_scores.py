"""The default base's scores of the bundled probes, as the package brings them.

    python -m benchmarks.base_scores

Run when a probe or the way in which it is scored changes.
"""

import json
from pathlib import Path

from benchmarks.methods.measure import MODEL
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import ForgettingSettings
from tunesmith.evaluation import base_scores
from tunesmith.evaluation.base_scores import name_of_spans, packed
from tunesmith.evaluation.likelihoods import log_likelihoods
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.models.hashes import COMBINED, hash_folder

FILE = Path(base_scores.__file__).parent / base_scores.BROUGHT
PROBES = ("default", "korean_text", "spanish_text")


def main() -> None:
    """Score them anew in float32, probe by probe."""
    loaded = open_base(MODEL, dtype="float32")
    probing = ProbeRun(loaded, ForgettingSettings(probes=PROBES))
    found = {}
    for spans in probing.spans_of_probes():
        (logs,) = log_likelihoods(loaded.engine, spans, [None])
        found[name_of_spans(spans)] = packed(logs)
    text = json.dumps({hash_folder(loaded.base.folder)[COMBINED]: found}, separators=(",", ":"))
    FILE.write_text(text + "\n", encoding="utf-8")
    print(FILE, FILE.stat().st_size, "bytes,", len(found), "probes")


if __name__ == "__main__":
    main()
