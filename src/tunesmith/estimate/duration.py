"""About how long a run would take on this machine, and how that is known."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from transformers import PretrainedConfig

from tunesmith.config.load import read_yaml
from tunesmith.config.run import RetentionSettings, RunConfig, TrainSettings
from tunesmith.core.errors import TunesmithError
from tunesmith.core.numbers import percent, pluralize
from tunesmith.engine.device import card_of
from tunesmith.engine.families import layer_keys
from tunesmith.methods import table
from tunesmith.models.precision import detect_device, detect_dtype

RUNS = Path("runs")
MIN_STEPS = 4  # of an earlier run whose speed is used
ROWS, WARM_UPS, REPEATS = 512, 2, 20
# Other work on the machine comes and goes: the range leaves so many of the fastest and slowest out.
LOW, HIGH = 0.1, 0.9
# What training reaches of the rate at which the machine multiplies the model's matrices, from worst
# to best in benchmarks/README.md.
WORST, EFFICIENCY, BEST = 0.43, 0.47, 0.51
# Products of a token with each weight: forward, gradient of the input, and of the weight itself.
TIMES_FROZEN, TIMES_TRAINED = 4, 6


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of training steps, ``low`` to ``high``, without what is evaluated between them.

    ``source`` is what it was drawn from: an earlier run, or the speed of a matrix product.
    """

    tokens: int
    seconds: float
    low: float
    high: float
    source: str

    def to_json(self) -> dict[str, object]:
        """The estimate as `data check --json` prints it."""
        return asdict(self)


def estimate(
    config: RunConfig,
    shape: PretrainedConfig,
    *,
    tokens: int,
    supervised: float,
    runs: Path = RUNS,
    now: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """The time that ``tokens`` of training take, of which the share ``supervised`` is scored."""
    earlier = _earlier_rates(config, runs)
    if earlier is not None:
        rates, run = earlier
        slow, middle, fast = np.quantile(rates, (LOW, 0.5, HIGH)).tolist()
        source = f"{pluralize(len(rates), 'step')} of {run}"
        return Estimate(tokens, tokens / middle, tokens / fast, tokens / slow, source)
    flops = tokens * config.train.work * _flops_per_token(config, shape, supervised)
    product, seconds = _products(config, shape, now)
    # A run has many of them: it is as slow as they are together, or as fast as if it were alone.
    together, alone = float(np.mean(seconds)), float(np.quantile(seconds, LOW))
    return Estimate(
        tokens,
        flops / (EFFICIENCY * product / together),
        flops / (BEST * product / alone),
        flops / (WORST * product / together),
        f"{REPEATS} matrix products just now, of whose speed training reaches {100 * WORST:.0f} to "
        f"{percent(BEST)}; train measures itself",
    )


def _earlier_rates(config: RunConfig, runs: Path) -> tuple[list[float], Path] | None:
    """Tokens a second of each step, but the first, of the newest run here of this base and method,
    as many threads working.
    """
    files = sorted(runs.glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    for metrics in reversed(files):
        folder = metrics.parent
        try:
            run = read_yaml(folder / "config.yaml", warn=False)
            here = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
            lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
            rates = [float(line["tokens_per_second"]) for line in lines[1:]]
        except (OSError, ValueError, KeyError, TypeError, TunesmithError):
            continue
        method = run.get("method")
        kind = method.get("kind") if isinstance(method, dict) else method
        same_work = (run.get("model"), kind) == (config.model, config.method.kind)
        same_work = same_work and _retention(run) == config.train.retention
        if same_work and _is_this_machine(here, config.device) and len(rates) >= MIN_STEPS:
            return rates, folder
    return None


def _retention(run: Mapping[str, object]) -> RetentionSettings | None:
    """That of a run's config; None in one of an earlier version."""
    train = run.get("train")
    given = train.get("retention") if isinstance(train, dict) else None
    return TrainSettings.model_validate({"retention": given or "none"}).retention


def _is_this_machine(environment: Mapping[str, object], choice: str) -> bool:
    device = detect_device(choice)
    kind = torch.backends.cpu.get_cpu_capability()
    ours = (os.cpu_count(), torch.get_num_threads(), kind, str(device))
    names = ("cores", "threads", "capability", "device")
    card = environment.get("accelerator")
    name = card.get("device") if isinstance(card, dict) else None
    return tuple(environment.get(name) for name in names) == ours and name == card_of(device)


def _flops_per_token(config: RunConfig, shape: PretrainedConfig, supervised: float) -> float:
    """Operations for a token of the stream: the linear layers, and the head where it is scored."""
    times = TIMES_TRAINED if table.of(config.method).trains_base else TIMES_FROZEN
    width, heads = shape.hidden_size, shape.num_attention_heads
    attention = sum(
        each.width * (2 * heads + (2 * each.heads if each.source == layer else 0))
        for layer, each in enumerate(layer_keys(shape))
    )
    experts = getattr(shape, "num_experts_per_tok", None) or 1
    inner = experts * (getattr(shape, "moe_intermediate_size", None) or _inner_width(shape))
    body = width * (attention + 3 * shape.num_hidden_layers * inner)
    return float(times * (body + supervised * shape.vocab_size * width))


def _inner_width(shape: PretrainedConfig) -> float:
    """The width within a feedforward layer; the mean where layers have their own."""
    given = shape.intermediate_size
    return float(mean(given) if isinstance(given, list) else given)


def _products(
    config: RunConfig, shape: PretrainedConfig, now: Callable[[], float]
) -> tuple[int, list[float]]:
    """Operations of x W^T, x [ROWS, D_in] and W [D_out, D_in], as the base is held; and the seconds
    that each of some took.
    """
    device = detect_device(config.device)
    dtype, _ = detect_dtype(config.dtype, device)
    x = torch.randn(ROWS, shape.hidden_size, device=device).to(dtype)
    weight = torch.randn(int(_inner_width(shape)), shape.hidden_size, device=device).to(dtype)
    seconds = []
    for _ in range(WARM_UPS + REPEATS):
        start = now()
        product = x @ weight.t()
        float(product[0, 0])  # waits for a GPU
        seconds.append(now() - start)
    return 2 * ROWS * weight.numel(), seconds[WARM_UPS:]
