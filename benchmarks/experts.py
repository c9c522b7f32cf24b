"""LoRA on the experts of a mixture: a step beside transformers with PEFT, in pairs.

Both train the same numbers, rank R on the attention's layers and on every stack of experts, over
one random model with the shape of a small mixture. PEFT computes padded batches, as the Trainer
makes them, with the experts' implementation that is named.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import peft
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tunesmith.config.methods import LoraSettings
from tunesmith.core.numbers import percent
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table

PARAMETERS = ("experts.gate_up_proj", "experts.down_proj")
PEERS = ("grouped_mm", "batched_mm", "eager")  # transformers' experts; its default first
IGNORED = -100  # a label that does not count
SHAPE = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "moe_intermediate_size": 256,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "tie_word_embeddings": False,
}


def main() -> None:
    """Measure in pairs and print a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=8, help="of a step")
    parser.add_argument(
        "--longest", type=int, default=256, help="tokens; the shortest is a quarter"
    )
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--peer", choices=("eager", "grouped_mm", "batched_mm"), default="grouped_mm"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dtype = getattr(torch, given.dtype)
    rng = random.Random(0)
    lengths = [rng.randint(given.longest // 4, given.longest) for _ in range(given.documents)]
    rows = [[rng.randrange(3, SHAPE["vocab_size"]) for _ in range(n)] for n in lengths]
    sides = {
        "tunesmith": _ours(_model(dtype, given.peer), rows, given.rank),
        "peft": _peer(_model(dtype, given.peer), rows, given.rank),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, float] = {}
    for pair in range(given.pairs + 1):
        for side, step in sides.items():
            start = time.perf_counter()
            loss = step()
            if pair:  # the first chooses kernels and fills caches
                seconds[side].append(time.perf_counter() - start)
            losses.setdefault(side, loss)
    ratios = [b / a for a, b in zip(seconds["tunesmith"], seconds["peft"], strict=True)]
    result = {
        "tokens": sum(lengths),
        "padding": percent(1 - sum(lengths) / (max(lengths) * len(lengths))),
        "tokens_per_second": {s: sum(lengths) / statistics.median(t) for s, t in seconds.items()},
        "times_faster": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "first_losses": losses,
    }
    print(json.dumps(result))


def _model(dtype: torch.dtype, experts: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3_moe", **SHAPE)
    model = AutoModelForCausalLM.from_config(config, experts_implementation=experts)
    return model.to(dtype)


def _ours(model: PreTrainedModel, rows: list[list[int]], rank: int) -> Callable[[], float]:
    engine = prepare_(model)
    settings = LoraSettings(rank=rank, alpha=2 * rank, target_parameters=PARAMETERS)
    adapter = table.attach(engine, settings, name="a")
    optimizer = torch.optim.AdamW(list(adapter.trained.values()), lr=1e-4)

    def step() -> float:
        made = [Row(ids, [0.0, *[1.0] * (len(ids) - 1)], adapter="a") for ids in rows]
        batch = pack(made)
        states = engine.hidden_states(batch)
        loss = loss_sum(states, batch, engine.head, count=len(batch.labels))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        adapter.refresh()
        return float(loss)

    return step


def _peer(model: PreTrainedModel, rows: list[list[int]], rank: int) -> Callable[[], float]:
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        target_parameters=list(PARAMETERS),
    )
    wrapped = peft.get_peft_model(model, config)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    labels = ids.masked_fill(mask == 0, IGNORED)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
            loss = wrapped(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


if __name__ == "__main__":
    main()
