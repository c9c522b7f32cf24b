"""What `tunesmith serve` does: mixed batches, load, schemas, and llama.cpp's server beside it.

    python -m benchmarks.serving.run --work DIR                          # what is not measured yet
    python -m benchmarks.serving.run --work DIR --only mix schemas
    python -m benchmarks.serving.run --work DIR --only llama same --llama PATH/TO/llama-server
    python -m benchmarks.serving.run --report

DIR takes adapters and models that are made once. A line of JSON is kept for each measurement; one
that is there with the same settings is not measured again.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.serving import beside_llama, load, mixed, schemas, table
from tunesmith.models.resolve import resolve

RESULTS = Path(__file__).parent / "results" / "serving.jsonl"
MODEL = "smollm2-135m-instruct"
GROUPS = (*("answers", "mix", "llama", "same", "load", "leaving", "killed", "schemas", "cost"),)
NEED_LLAMA = ("llama", "same")
Settings = dict[str, Any]
Measure = Callable[..., Settings]
Cases = Mapping[str, Callable[[], Settings]]


def main() -> None:
    """Measure what is missing, then print the tables."""
    given = _options()
    if given.report:
        print(table.report(read(given.results)))
        return
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    cases = _cases(given)
    for group in given.only:
        for settings, measure in cases[group].items():
            known = json.loads(settings)
            if any(line["settings"] == known for line in read(given.results)):
                continue
            start = time.perf_counter()
            found = measure()
            line = {"settings": known, "found": found, "seconds": time.perf_counter() - start}
            given.results.parent.mkdir(parents=True, exist_ok=True)
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    print(table.report(read(given.results)))


def read(path: Path) -> list[Settings]:
    """The lines that are there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="folder for adapters and models")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--llama", type=Path, help="llama.cpp's llama-server")
    parser.add_argument("--ranks", nargs="+", type=int, default=[8, 16], help="of the LoRAs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64, help="of an answer in a mixed batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5, help="of the load")
    parser.add_argument("--answers", type=int, default=200, help="that schemas hold")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the tables of what there is")
    given = parser.parse_args()
    if not given.report and given.work is None:
        parser.error("give --work")
    if given.llama is None and set(given.only) & set(NEED_LLAMA):
        given.only = [group for group in given.only if group not in NEED_LLAMA]
        print("without --llama: llama.cpp's server is left out")
    return given


def _cases(given: argparse.Namespace) -> Mapping[str, Cases]:
    """The measurements of each group, by their settings as JSON."""
    work, model = given.work.resolve(), str(resolve(given.model))
    each_rank = [{"rank": rank, "tokens": given.tokens} for rank in given.ranks]
    threads, repeats = {"threads": given.threads}, {"repeats": given.repeats}
    rank, answers = {"rank": given.ranks[-1]}, {"answers": given.answers}
    here, both = (model, work), (given.llama, model, work)

    def case(group: str, function: Measure, places: Sequence[object], **settings: object) -> Cases:
        kept = {"group": group, "model": given.model, **threads, **settings}
        return {json.dumps(kept): partial(function, *places, **settings)}

    def cases(group: str, function: Measure, variants: Sequence[Settings]) -> Cases:
        found = [case(group, function, here, **variant) for variant in variants]
        return {key: measure for each in found for key, measure in each.items()}

    dtypes = [{**each, "dtype": d} for each in each_rank for d in ("float32", "bfloat16")]
    minutes = {"minutes": given.minutes}
    return {
        "answers": cases("answers", mixed.same_answers, dtypes),
        "mix": cases("mix", mixed.speed, [{**each, **repeats} for each in each_rank]),
        "llama": case("llama", beside_llama.speed, both, **rank, **threads, **repeats),
        "same": case("same", beside_llama.same_answers, both, **threads),
        "load": case("load", load.load, here, **rank, **minutes, **threads),
        "leaving": case("leaving", load.leaving, (model,), **threads),
        "killed": case("killed", load.killed, (model,), **threads, **repeats),
        "schemas": case("schemas", schemas.valid, (model,), **answers, **threads),
        "cost": case("cost", schemas.cost, (model,), **threads, **repeats),
    }


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    main()
