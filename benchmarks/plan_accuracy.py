"""How near is a plan to what training takes? Predicted against measured peak and seconds a step.

Each combination of a base's shape, a method and a micro-batch is trained for a step (with --seconds
for three) in a process of its own, forked from one that has imported everything and computed
nothing, over random weights that are made in code. Its line goes to plan_accuracy.jsonl, and lines
that are there already are not measured again. What is measured is the resident set's peak (VmHWM)
less what the process held before it made the base (`before_bytes`): Python, torch, transformers,
and one small product. That is the same in every process, and no part of what is predicted either.

Seconds are those of the processor in this process where one thread computes (OMP_NUM_THREADS=1),
which other work on the machine hardly changes, else of the wall; the machine's rates are measured
by the same clock, once, into the file's first line.

`python -m benchmarks.plan_accuracy` measures what is missing, `--report` prints the errors;
`--seconds` measures those again that have none.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".jsonl")
MACHINE = "machine"
MOE = {
    **{"model_type": "qwen3_moe", "hidden_size": 512, "num_hidden_layers": 8},
    **{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64},
    **{"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 384},
    **{"intermediate_size": 1024, "vocab_size": 32_000, "tie_word_embeddings": True},
    **{"max_position_embeddings": 4096, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}


@dataclass(frozen=True, slots=True)
class Combination:
    """One training: a base's shape by its known name, a method, and what is computed at once."""

    shape: str
    method: str
    tokens: int
    document: int = 256
    recompute: str = "none"
    optimizer: str = "adamw"
    dtype: str = "bfloat16"
    needs_gb: float = 0.0

    @property
    def key(self) -> str:
        """Its name in the file."""
        values = {k: v for k, v in asdict(self).items() if k != "needs_gb"}
        return " ".join(str(value) for value in values.values())


SMOL, GEMMA, ONE_B, SEVEN_B = (
    "smollm2-135m-instruct",
    "gemma-3-270m-it",
    "llama-3.2-1b",
    "llama-2-7b",
)
COMBINATIONS = (
    *(Combination(SMOL, m, 512) for m in ("lora", "full", "prompt", "p-tuning", "ia3", "qlora")),
    *(Combination(GEMMA, m, 512) for m in ("lora", "full", "prompt", "p-tuning")),
    *(Combination("tiny-moe", m, 512) for m in ("lora", "full", "p-tuning")),
    *(Combination(SMOL, m, 1280) for m in ("lora", "prompt", "p-tuning")),
    Combination(ONE_B, "lora", 256),
    Combination(ONE_B, "qlora", 256),
    Combination(SMOL, "lora", 1024, document=1024),
    Combination(SMOL, "lora", 1024, document=128),
    Combination(SMOL, "lora", 1024, recompute="activations"),
    Combination(SMOL, "lora", 1024, recompute="layers"),
    Combination(SMOL, "full", 256, optimizer="adamw8bit"),
    Combination(SMOL, "lora", 512, dtype="float32"),
    Combination(GEMMA, "lora", 1280),
    Combination(GEMMA, "full", 256, optimizer="adamw8bit"),
    Combination(GEMMA, "lora", 1024, document=1024, recompute="layers"),
    Combination(ONE_B, "lora", 512, recompute="layers"),
    Combination(ONE_B, "prompt", 256),
    Combination(ONE_B, "p-tuning", 256),
    *(Combination("tiny-moe", m, 1536) for m in ("lora", "full")),
    Combination(SMOL, "lora", 1792),
    Combination(SMOL, "qlora", 1280),
    Combination(SEVEN_B, "qlora", 128, document=128, recompute="layers", needs_gb=12),
    Combination(SEVEN_B, "qlora", 256, needs_gb=12),
)


def main() -> None:
    """Measure what the file lacks, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="print the errors only")
    parser.add_argument("--seconds", action="store_true", help="also the time of a step")
    parser.add_argument("--only", default="", help="combinations whose name contains this")
    given = parser.parse_args()
    if not given.report:
        _import_all()
        if MACHINE not in lines():
            _append(_fresh(machine_line))
        for combination in COMBINATIONS:
            if given.only in combination.key:
                _measure(combination, 3 if given.seconds else 1)
    report()


def _import_all() -> None:
    """What a training needs, so that processes have it before they count."""
    import torch
    from transformers import AutoModelForCausalLM  # noqa: F401

    from tunesmith.adapters import loaded_base  # noqa: F401
    from tunesmith.data import dataset  # noqa: F401
    from tunesmith.training import loop, measure  # noqa: F401

    torch.set_num_threads(torch.get_num_threads())


def _measure(combination: Combination, steps: int) -> None:
    """Its line, where it is not there yet and there is room for it."""
    from tunesmith.core.host_memory import available_bytes

    found = lines().get(combination.key)
    if found is not None and (steps == 1 or found["step_seconds"] is not None):
        return
    if (available_bytes() or 0) < 1e9 * combination.needs_gb:
        print(f"{combination.key}: left out, less than {combination.needs_gb} GB are free")
        return
    line = _fresh(partial(measured, combination, steps))
    _append(line)
    print(f"{combination.key}: {line['peak_bytes'] / 1e6:,.0f} MB", flush=True)


def _fresh(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a process of its own gives."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as fresh:
        return fresh.submit(work).result()


def _append(line: Mapping[str, object]) -> None:
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def machine_line() -> dict[str, Any]:
    """This machine's rates, by the clock of the combinations."""
    from tunesmith.estimate.machine import measured as rates

    clock, name = clock_here()
    return {"key": MACHINE, "clock": name, **asdict(rates(now=clock))}


def clock_here() -> tuple[Callable[[], float], str]:
    """The clock that is read here, and its name."""
    import torch

    alone = torch.get_num_threads() == 1
    return (time.process_time, "process") if alone else (time.perf_counter, "wall")


def lines() -> dict[str, Mapping[str, Any]]:
    """What was measured, by combination."""
    if not FILE.is_file():
        return {}
    rows = map(json.loads, FILE.read_text(encoding="utf-8").splitlines())
    return {row["key"]: row for row in rows}


def report() -> None:
    """Each combination with its error, then the median and the worst."""
    errors, slow = [], []
    for row, predicted, seconds in compared():
        error = predicted / row["peak_bytes"] - 1
        errors.append(abs(error))
        text = (
            f"{row['key']:64} {row['peak_bytes'] / 1e6:8,.0f} {predicted / 1e6:8,.0f} {error:+7.1%}"
        )
        if row.get("step_seconds") and seconds:
            off = seconds / row["step_seconds"] - 1
            slow.append(abs(off))
            text += f"  {row['step_seconds']:7.2f} s {seconds:7.2f} {off:+7.1%}"
        print(text)
    for name, values in (("bytes", errors), ("seconds", slow)):
        if values:
            middle, worst = statistics.median(values), max(values)
            print(f"{name}: {len(values)} combinations, median {middle:.1%}, worst {worst:.1%}")


def compared() -> Iterator[tuple[Mapping[str, Any], int, float | None]]:
    """Each measured combination, and what a plan predicts of it: bytes, and seconds a step by the
    rates that were measured with it.
    """
    from tunesmith.config.methods import default_methods
    from tunesmith.engine.config_shape import shape_of
    from tunesmith.estimate.machine import Machine, as_device
    from tunesmith.estimate.memory import Setup, memory_of
    from tunesmith.estimate.seconds import step_seconds
    from tunesmith.methods.sizes import trained_size

    rows = lines()
    own = {k: v for k, v in rows.pop(MACHINE, {}).items() if k not in ("key", "clock")}
    device = as_device(Machine(**own)) if own else None
    for row in rows.values():
        made = Combination(**row["combination"])
        shape = shape_of(config_of(made.shape))
        size = trained_size(default_methods()[made.method], shape)
        setup = Setup(
            tokens=made.tokens,
            document=made.document,
            supervised=0.5,
            dtype=made.dtype,
            four_bit=made.method == "qlora",
            optimizer=made.optimizer,  # type: ignore[arg-type]
            recompute=made.recompute,  # type: ignore[arg-type]
        )
        seconds = None
        if device is not None:
            found = step_seconds(shape, size, setup, device, tokens=made.tokens)
            seconds = found.total if found else None
        yield row, memory_of(shape, size, setup).total, seconds


def config_of(name: str) -> Mapping[str, Any]:
    """The config of a known shape, or the tiny mixture's."""
    from tunesmith.models.config_file import read_base_config

    keys = ("name", "parameters", "source")
    found = MOE if name == "tiny-moe" else read_base_config(name)
    return {key: value for key, value in found.items() if key not in keys}


def measured(made: Combination, steps: int) -> dict[str, Any]:
    """Train a few steps in this process."""
    import torch

    from tunesmith.core import host_memory

    dtype = getattr(torch, made.dtype)
    torch.ones(64, 64).to(dtype) @ torch.ones(64, 64).to(dtype)
    before = host_memory.held_bytes() or 0
    clock, name = clock_here()
    with tempfile.TemporaryDirectory() as folder:
        found = _train(made, Path(folder), steps, clock)
    peak = host_memory.peak_bytes() or 0
    return {
        "key": made.key,
        "combination": asdict(made),
        "before_bytes": before,
        "peak_bytes": peak - before,
        "threads": torch.get_num_threads(),
        "clock": name,
        "step_seconds": min(found[1:], default=None),
    }


def _train(made: Combination, folder: Path, steps: int, clock: Any) -> list[float]:
    """Seconds of each step."""
    import numpy as np
    import torch

    from tunesmith.config.methods import default_methods
    from tunesmith.config.run import TrainSettings
    from tunesmith.core import host_memory
    from tunesmith.data.dataset import block_of, dataset_of
    from tunesmith.data.rows import TokenRow
    from tunesmith.engine.forward import prepare_
    from tunesmith.engine.memory import release_freed_memory
    from tunesmith.methods import table
    from tunesmith.training import optimizer
    from tunesmith.training.events import StepDone
    from tunesmith.training.job import Job, Member
    from tunesmith.training.loop import train
    from tunesmith.training.steps import Plan

    engine = prepare_(random_base(made), getattr(torch, made.dtype))
    release_freed_memory()
    host_memory.forget_peak()
    adapter = table.attach(engine, default_methods()[made.method])
    documents, rng = made.tokens // made.document, np.random.default_rng(0)
    rows = [
        TokenRow(
            rng.integers(3, engine.config.vocab_size, made.document).astype(np.int32),
            (np.arange(made.document) >= made.document // 2).astype(np.float32),
            "f",
            line,
        )
        for line in range(steps * documents)
    ]
    settings = TrainSettings.model_validate(
        {"steps": steps, "rows_per_step": documents, "save_steps": steps + 1, "lr": 1e-6}
        | {"optimizer": made.optimizer, "retention": "none"}
    )
    order = tuple(tuple(range(i * documents, (i + 1) * documents)) for i in range(steps))
    job = Job(
        engine=engine,
        adapter=adapter,
        rows=dataset_of([block_of(rows, range(len(rows)), ["f"])], ["f"]),
        held=None,
        settings=settings,
        folder=folder,
        fixed_steps=order,
    )
    adam = optimizer.build(adapter, lr=1e-6, weight_decay=0.0, kind=made.optimizer)  # type: ignore[arg-type]
    plan = Plan(steps, 0, 1e-6, made.tokens, made.recompute, 2**62, 0.0)  # type: ignore[arg-type]
    found = []
    for _, event in train([Member(job, plan, adam)], now=clock):
        if isinstance(event, StepDone):
            found.append(made.tokens / event.tokens_per_second)
            if event.step == steps:
                break  # before a checkpoint is written
    return found


def random_base(made: Combination) -> Any:
    """A model of the shape with random weights, its linear layers as 4-bit codes for qlora."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    values = dict(config_of(made.shape))
    values |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.to(getattr(torch, made.dtype))
    codes: dict[tuple[int, int], Any] = {}
    drawn = torch.empty(2**20 - 3).normal_(0, 0.02).to(getattr(torch, made.dtype))
    for name, module in list(model.named_modules()):
        is_linear = isinstance(module, torch.nn.Linear) and "lm_head" not in name
        for key, parameter in list(module.named_parameters(recurse=False)):
            if made.method == "qlora" and is_linear and key == "weight":
                module.weight = _four_bit(tuple(parameter.shape), codes)
                continue
            real = torch.ones_like(parameter, device="cpu")
            if real.dim() > 1:  # the same numbers again and again: drawing them takes long
                for part in torch.split(real.view(-1), len(drawn)):
                    part.copy_(drawn[: len(part)])
            setattr(module, key, torch.nn.Parameter(real, requires_grad=False))
    model.tie_weights()
    rotary = type(model.model.rotary_emb)(config)
    model.model.rotary_emb = rotary
    for module in model.modules():
        for key, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:  # a scale of the embedding
                module.register_buffer(key, torch.tensor(config.hidden_size**0.5), persistent=False)
    return model


def _four_bit(shape: tuple[int, int], codes: dict[tuple[int, int], Any]) -> Any:
    """Codes of random numbers; those of one shape are drawn once, and copied."""
    import copy

    import torch

    from tunesmith.models.four_bit import quantize

    if shape not in codes:
        weight = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02)
        codes[shape] = quantize(shape, lambda start, stop: weight[start:stop])
    made = codes[shape]
    parameter = torch.nn.Parameter(made.codes.clone(), requires_grad=False)
    parameter.quant_state = copy.deepcopy(made.state)  # type: ignore[attr-defined]
    return parameter


if __name__ == "__main__":
    main()
