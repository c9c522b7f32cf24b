"""Is it the same mathematics? Losses of both sides in fp32, from one saved PEFT adapter.

Exit 1 where a loss differs from the Trainer's by more than the tolerance.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.run import run_module
from benchmarks.sides.peers import lora
from tunesmith.models.resolve import resolve

# PEFT draws B as wide as A when it may not start at zero; so much of it leaves the base usable.
B_SHARE = 0.1


def main() -> int:
    """Print the losses side by side; 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder of the base; default: the default model")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = Path(options.model) if options.model else resolve("smollm2-135m-instruct")
    with tempfile.TemporaryDirectory() as scratch:
        adapter = Path(scratch) / "adapter"
        save_start(model, adapter, seed=options.seed)
        arguments = [str(model), "--steps", str(options.steps), "--threads", str(options.threads)]
        arguments += ["--precision", "fp32", "--constant-lr", "--adapter", str(adapter)]
        theirs, ours = (
            run_module([f"benchmarks.sides.{side}", *arguments], options.threads)["losses"]
            for side in ("hf_trainer", "tunesmith_side")
        )
    print("step   Trainer + PEFT   Tunesmith        difference")
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True), start=1):
        print(f"{step:4d}   {a:<14.7f}   {b:<14.7f}   {b - a:+.1e}")
    worst = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    equal = worst <= options.tolerance
    print(f"largest difference {worst:.1e}, tolerance {options.tolerance:.0e}:", end=" ")
    print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


def save_start(model: Path, folder: Path, *, seed: int) -> None:
    """Save an adapter made by PEFT, of which neither A nor B is zero."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = get_peft_model(base, lora(init_lora_weights=False))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.mul_(B_SHARE)
    adapted.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
