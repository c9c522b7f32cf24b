"""Tunesmith on the same documents: LoRA or full fine-tuning through the packed stream."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.measure import StepLog, print_result, side_options
from benchmarks.workload import DOCUMENTS, Encoded
from tunesmith.config.methods import FullSettings, LoraSettings
from tunesmith.engine.batch import Row, pack
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
SHARE_TOKENS = 8
ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; ``adapter`` is a PEFT folder to start from."""

    precision: str
    full: bool
    adapter: Path | None
    lr: float
    constant_lr: bool
    tokens_per_micro_batch: int


def main() -> None:
    """Train and print the JSON line."""
    given = _options()
    torch.set_num_threads(given.threads)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    steps = DOCUMENTS[given.documents](tokenizer, given.steps)
    options = Options(
        precision=given.precision,
        full=given.full,
        adapter=given.adapter,
        lr=given.lr,
        constant_lr=given.constant_lr,
        tokens_per_micro_batch=given.tokens_per_micro_batch,
    )
    log = train_steps(given.model, steps, options)
    print_result(f"Tunesmith {'full' if given.full else 'lora'} {given.precision}", log)


def _options() -> argparse.Namespace:
    parser = side_options(__doc__)
    parser.add_argument("--precision", choices=sorted(DTYPES), default="bf16")
    parser.add_argument("--full", action="store_true", help="train every weight")
    parser.add_argument("--adapter", type=Path, help="a PEFT adapter folder to start from")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--constant-lr", action="store_true", help="instead of linear decay")
    parser.add_argument("--tokens-per-micro-batch", type=int, default=1024)
    given = parser.parse_args()
    if given.full and given.adapter:
        parser.error("--full trains no adapter; leave out --adapter")
    return given


def train_steps(model: str, steps: Sequence[Sequence[Encoded]], options: Options) -> StepLog:
    """Train on each step's documents in turn; seconds from documents to updated weights."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=DTYPES[options.precision])
    engine = prepare_(base)
    adapter = table.attach(engine, FullSettings() if options.full else LoraSettings(), name=ADAPTER)
    if options.adapter is not None:
        _load_(adapter, options.adapter)
    parameters = list(adapter.parameters.values())
    optimizer = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.0, fused=True)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: 1.0 if options.constant_lr else 1.0 - done / len(steps)
    )
    log = StepLog()
    for documents in steps:
        start = time.perf_counter()
        log.losses.append(_accumulate_(engine, documents, options.tokens_per_micro_batch))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        adapter.refresh()
        log.seconds.append(time.perf_counter() - start)
        log.tokens.append(sum(len(d.ids) for d in documents))
    return log


def _accumulate_(engine: Engine, documents: Sequence[Encoded], budget: int) -> float:
    """Add the gradients of one optimizer step; its mean loss."""
    supervised = sum(sum(d.supervised) for d in documents)
    total = 0.0
    for part in _micro_batches(documents, budget):
        rows = [Row(d.ids, [float(s) for s in d.supervised], adapter=ADAPTER) for d in part]
        batch = pack(rows, share=SHARE_TOKENS)
        loss = loss_sum(engine.hidden_states(batch), batch, engine.head) / supervised
        loss.backward()
        total += loss.item()
    return total


def _micro_batches(documents: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """As few parts as the budget of tokens asks for, of about equal length."""
    tokens = sum(len(d.ids) for d in documents)
    parts: list[list[Encoded]] = [[] for _ in range(-(-tokens // budget))]
    for document in sorted(documents, key=lambda d: -len(d.ids)):
        min(parts, key=lambda part: sum(len(d.ids) for d in part)).append(document)
    return [part for part in parts if part]


def _load_(adapter: Adapter, folder: Path) -> None:
    """Put the tensors of a PEFT adapter into ours, which are stored under the same names."""
    found = load_file(folder / "adapter_model.safetensors")
    if found.keys() != adapter.parameters.keys():
        odd = sorted(found.keys() ^ adapter.parameters.keys())
        raise SystemExit(f"{folder}: its tensors are not ours; the first that differs: {odd[0]}")
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            parameter.copy_(found[name])
    adapter.refresh()


if __name__ == "__main__":
    main()
