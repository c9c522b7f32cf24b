"""A packed stream of a base with recurrent states against one document at a time: speed, gradients.

A training step of LoRA on all linear layers in three ways: all documents as one packed stream, each
as a stream of its own, and each through transformers' and PEFT's forward. Seconds are those of the
processor, so that other work beside it counts little. The base has random weights in the widths of
a known one, four layers and a small vocabulary.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import peft
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter

VOCABULARY, RANK, NAME = 8192, 16, "a"
FULL, STATE = "full_attention", "linear_attention"
SHAPES: dict[str, dict[str, object]] = {
    "qwen3_5_text": {  # Qwen3.5 0.8B
        "hidden_size": 1024,
        "intermediate_size": 3584,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "layer_types": [STATE, STATE, STATE, FULL],
    },
    "granitemoehybrid": {  # Granite 4.0 H 350M
        "hidden_size": 768,
        "shared_intermediate_size": 2048,
        "num_local_experts": 0,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "mamba_n_heads": 48,
        "mamba_d_head": 32,
        "mamba_d_state": 128,
        "layer_types": [STATE, STATE, STATE, FULL],
    },
}


def main() -> None:
    """Measure in turns and print a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=SHAPES, default="qwen3_5_text")
    parser.add_argument("--documents", type=int, default=16, help="of a step")
    parser.add_argument("--tokens", type=int, nargs=2, default=(16, 64), help="of a document")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    engine = prepare_(_model(given.family, given.dtype))
    adapter = table.attach(engine, LoraSettings(rank=RANK), name=NAME)
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters.values()):
            parameter.normal_(0, 0.02, generator=torch.Generator().manual_seed(number))
    adapter.refresh()
    theirs = _peft(_model(given.family, given.dtype), adapter)
    rows = _rows(given.documents, *given.tokens)
    ways: dict[str, Callable[[], Tensor]] = {
        "packed": lambda: _ours(engine, adapter, [rows]),
        "apart": lambda: _ours(engine, adapter, [[row] for row in rows]),
        "transformers": lambda: _theirs(theirs, rows),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    gradients: dict[str, Tensor] = {}
    for repeat in range(given.repeats + 1):
        for way, step in ways.items():
            start = time.process_time()
            gradients[way] = step()
            if repeat:  # the first chooses kernels and fills caches
                seconds[way].append(time.process_time() - start)
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    packed, others = gradients.pop("packed"), [way for way in ways if way != "packed"]
    result = {
        "tokens": sum(len(row.ids) for row in rows),
        "seconds": medians,
        "times_faster": {way: medians[way] / medians["packed"] for way in others},
        "gradient_difference": {
            way: float((packed - each).norm() / each.norm()) for way, each in gradients.items()
        },
    }
    print(json.dumps(result))


def _model(family: str, dtype: str) -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {**SHAPES[family], "vocab_size": VOCABULARY, "num_hidden_layers": 4}
    config = AutoConfig.for_model(family, tie_word_embeddings=True, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return model.eval().requires_grad_(False)


def _rows(count: int, low: int, high: int) -> list[Row]:
    draw = random.Random(0)
    lengths = [round(low * (high / low) ** draw.random()) for _ in range(count)]
    return [
        Row(ids, [0.0] + [1.0] * (length - 1), adapter=NAME, key=i)
        for i, length in enumerate(lengths)
        for ids in [[draw.randrange(3, VOCABULARY) for _ in range(length)]]
    ]


def _ours(engine: Engine, adapter: Adapter, streams: list[list[Row]]) -> Tensor:
    for parameter in adapter.parameters.values():
        parameter.grad = None
    for rows in streams:
        batch = pack(rows)
        loss = loss_sum(engine.hidden_states(batch), batch, engine.head)
        torch.autograd.backward(loss)
    named = sorted(adapter.parameters.items())
    return torch.cat([p.grad.flatten() for _, p in named if p.grad is not None])


def _peft(model: PreTrainedModel, adapter: Adapter) -> peft.PeftModel:
    settings = adapter.settings
    assert isinstance(settings, LoraSettings)
    config = peft.LoraConfig(r=RANK, lora_alpha=settings.alpha, target_modules="all-linear")
    wrapped = peft.get_peft_model(model, config)
    tensors = {name: parameter.detach() for name, parameter in adapter.parameters.items()}
    peft.set_peft_model_state_dict(wrapped, tensors)
    return wrapped


def _theirs(model: peft.PeftModel, rows: list[Row]) -> Tensor:
    model.zero_grad(set_to_none=True)
    for row in rows:
        logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1]
        labels = torch.tensor(row.ids[1:])
        loss = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        torch.autograd.backward(loss)
    trained = [(n.replace(".default", ""), p) for n, p in model.named_parameters()]
    trained = [(name, p) for name, p in trained if p.requires_grad]
    return torch.cat([p.grad.flatten().float() for _, p in sorted(trained)])


if __name__ == "__main__":
    main()
