"""A soft prompt of P vectors computed once for a stream, and once for every row: speed, gradients.

Both are this project's engine on the same rows; in the second every row has the prompt under a
name of its own, so that it stands in the stream again and again, as a padded batch repeats it.
"""

import argparse
import json
import statistics
import time

import torch

from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import PromptSettings
from tunesmith.engine.forward import Engine
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table
from tunesmith.models.resolve import resolve

NAME = "prompt"


def main() -> None:
    """Measure in pairs and print a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--virtual", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128, help="of each document")
    parser.add_argument("--documents", type=int, default=12, help="of a stream")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    engine = open_base(str(resolve("smollm2-135m-instruct")), dtype=given.dtype).engine
    adapter = table.attach(engine, PromptSettings(tokens=given.virtual), name=NAME)
    (vectors,) = adapter.parameters.values()
    rows = _rows(given.documents, given.tokens)
    for i in range(given.documents):
        engine.prefixes[f"{NAME} {i}"] = engine.prefixes[NAME]
    ways = {
        "shared": [Row(ids, weights, adapter=NAME) for ids, weights in rows],
        "repeated": [
            Row(ids, weights, adapter=f"{NAME} {i}") for i, (ids, weights) in enumerate(rows)
        ],
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    gradients: dict[str, torch.Tensor] = {}
    for repeat in range(given.repeats + 1):
        for way, documents in ways.items():
            vectors.grad = torch.zeros_like(vectors)
            took = _step(engine, documents)
            gradients[way] = vectors.grad.clone()
            if repeat:  # the first chooses kernels and fills caches
                seconds[way].append(took)
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    shared, repeated = gradients["shared"], gradients["repeated"]
    result = {
        "seconds": medians,
        "times_faster": medians["repeated"] / medians["shared"],
        "gradient_difference": float((shared - repeated).norm() / repeated.norm()),
    }
    print(json.dumps(result))


def _rows(count: int, tokens: int) -> list[tuple[list[int], list[float]]]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40_000, (count, tokens), generator=generator).tolist()
    # the second half of each document is its answer
    weights = [0.0] * (tokens // 2) + [1.0] * (tokens - tokens // 2)
    return [(each, weights) for each in ids]


def _step(engine: Engine, rows: list[Row]) -> float:
    start = time.perf_counter()
    batch = pack(rows, prefixes=engine.prefixes)
    loss = loss_sum(engine.hidden_states(batch), batch, engine.head, count=len(batch.labels))
    torch.autograd.backward(loss)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
