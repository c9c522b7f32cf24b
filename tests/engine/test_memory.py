"""Products of ever new shapes must not fill the memory with compiled kernels."""

import subprocess
import sys

import pytest

MANY_SHAPES = """
import torch
from pathlib import Path
from tunesmith.engine.memory import bound_kernel_caches

{call}
def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

weight = torch.ones(64, 64, dtype=torch.bfloat16)
def products(shapes):
    for rows in shapes:
        torch.ones(rows, 64, dtype=torch.bfloat16) @ weight

products(range(1, 301))
before = held()
products(range(301, 901))
print(held() - before)
"""


def _growth(call: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MANY_SHAPES.format(call=call)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_new_shapes_beyond_the_cache_take_no_more_memory():
    unbounded = _growth("")
    if unbounded < 50_000_000:
        pytest.skip("this processor's products keep no kernels")
    assert _growth("bound_kernel_caches()") < unbounded / 4
