"""Eight LoRA adapters on W1: trained together, each alone, and each by PEFT with the Trainer.

Ranks 2 to 64 and as many learning rates, the same rows. Prints a JSON line: seconds and peaks of
each way (loading and steps counted), the ratios, and the largest difference between an adapter
that trained together and the same one alone (fp32, the first steps).
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tunesmith.models.resolve import resolve

RANKS = (2, 4, 8, 16, 24, 32, 48, 64)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="also PEFT and the Trainer")
    given = parser.parse_args()
    model = str(resolve("smollm2-135m-instruct"))
    common = ["--steps", str(given.steps), "--threads", str(given.threads)]
    together = _run("together_side", [model, *common, "--ranks", ",".join(map(str, RANKS))])
    alone = [_run("together_side", [model, *common, "--ranks", str(rank)]) for rank in RANKS]
    result = {
        "together_seconds": together["seconds"],
        "alone_seconds": sum(run["seconds"] for run in alone),
        "together_step_seconds": sum(together["step_seconds"]),
        "alone_step_seconds": sum(sum(run["step_seconds"]) for run in alone),
        "together_peak_bytes": together["peak_bytes"],
        "alone_peak_bytes": max(run["peak_bytes"] for run in alone),
        "largest_loss_difference": max(
            abs(a - b)
            for rank, run in zip(RANKS, alone, strict=True)
            for a, b in zip(together["losses"][str(rank)], run["losses"][str(rank)], strict=True)
        ),
    }
    if given.peers:
        peers = [_run("hf_trainer", [model, *common, "--rank", str(rank)]) for rank in RANKS]
        result["peers_seconds"] = sum(run["seconds"] for run in peers)
        result["peers_step_seconds"] = sum(sum(run["step_seconds"]) for run in peers)
    print(json.dumps(result, indent=1))


def _run(side: str, arguments: list[str]) -> dict[str, Any]:
    print(f"{side} {' '.join(arguments[1:])}", file=sys.stderr, flush=True)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.sides.{side}", *arguments],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{side} ended with {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": time.perf_counter() - start, **result}


if __name__ == "__main__":
    main()
