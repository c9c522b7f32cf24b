"""How fast does this machine multiply matrices of a model's shapes? GFLOP/s in bf16 and fp32."""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.flops import read_shape

ROWS = 1024
HEAD_ROWS = 256
WARM_UPS = 3
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def main() -> None:
    """Print one JSON line: the median over the shapes, and each shape's own median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of the base whose shapes are taken")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15, help="products of each shape")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = {
        name: {
            " x ".join(map(str, size)): _gigaflops(size, dtype, options.repeats)
            for size in _sizes(options.model)
        }
        for name, dtype in DTYPES.items()
    }
    medians = {name: statistics.median(shapes.values()) for name, shapes in rates.items()}
    print(json.dumps({"name": "matrix rate", **medians, "shapes": rates}))


def _sizes(model: Path) -> list[tuple[int, int, int]]:
    """(rows, D_in, D_out) of q, gate and down, and of a chunk of the head."""
    shape = read_shape(model)
    q, _, _, _, gate, _, down = shape.linears
    return [(ROWS, *q), (ROWS, *gate), (ROWS, *down), (HEAD_ROWS, shape.width, shape.vocabulary)]


def _gigaflops(size: tuple[int, int, int], dtype: torch.dtype, repeats: int) -> float:
    """Median rate of x W^T, x [rows, D_in] and W [D_out, D_in] as linear layers hold them."""
    rows, width, out = size
    x, weight = torch.randn(rows, width).to(dtype), torch.randn(out, width).to(dtype)
    seconds = []
    for _ in range(WARM_UPS + repeats):
        start = time.perf_counter()
        x @ weight.t()
        seconds.append(time.perf_counter() - start)
    return 2 * rows * width * out / statistics.median(seconds[WARM_UPS:]) / 1e9


if __name__ == "__main__":
    main()
