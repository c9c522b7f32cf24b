"""A JSONL file read, checked, rendered and tokenised by Tunesmith, as `data check` does it.

With --compare rows are compared with one another as well; `datasets.map` has nothing beside that.
"""

import argparse
import json
import time
from pathlib import Path

from tunesmith.config.run import DataSettings
from tunesmith.core.progress import Progress
from tunesmith.data.quality.report import DatasetReport
from tunesmith.runs import rows as gathering
from tunesmith.runs.inspect_data import open_tokenizer


def main() -> None:
    """Print rows and seconds as one JSON line, of the first time and of the second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args()
    tokenizer = open_tokenizer(given.model).tokenizer
    settings = DataSettings(train=str(given.file), eval=0.1 if given.compare else 0)
    if not given.compare:
        vars(gathering)["look_over"] = lambda *_, **__: DatasetReport()
    seconds = []
    progress = Progress(threads=given.processes)
    for _ in range(2):
        start = time.perf_counter()
        found = gathering.load_sources(settings, tokenizer, context=8192, seed=0, progress=progress)
        seconds.append(time.perf_counter() - start)
    rows = found.train.rows
    result = {"rows": len(rows), "tokens": rows.tokens, "faults": found.faults.count}
    print(json.dumps({**result, "seconds": seconds[0], "again_seconds": seconds[1]}))


if __name__ == "__main__":
    main()
