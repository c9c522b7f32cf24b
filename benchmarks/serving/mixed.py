"""Rows of many adapters in one step: the answers of each alone, and tokens a second beside PEFT.

The adapters are random and of the default settings; what a token costs does not depend on them.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM

from benchmarks.workload import chats
from tunesmith.adapters import store
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.methods import (
    AnyMethod,
    IA3Settings,
    LoraSettings,
    PromptSettings,
    PTuningSettings,
)
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.request import AnswerEnd, AnswerRequest, MadeToken
from tunesmith.generation.sampling import Sampling
from tunesmith.generation.scheduler import Limits, Scheduler
from tunesmith.generation.shared_base import SharedBase
from tunesmith.generation.slot_memory import SlotMemory
from tunesmith.methods import table

ROWS, LORAS, NOISE = 16, 8, 0.02
CACHE_BYTES, CONTEXT = 1 << 30, 1024
Adapters = Sequence[str | None]


def kinds(rank: int) -> dict[str, AnyMethod]:
    """The adapters by name."""
    lora = LoraSettings(rank=rank, alpha=2 * rank)
    found: dict[str, AnyMethod] = {f"lora{i}": lora for i in range(LORAS)}
    found |= {"soft": PromptSettings(init="random"), "prefix": PTuningSettings()}
    return {**found, "ia3": IA3Settings()}


def make_adapters(model: str, folder: Path, *, rank: int) -> dict[str, Path]:
    """Their folders by name, written where they are not there yet."""
    folders = {name: folder / f"rank{rank}" / name for name in kinds(rank)}
    if not all(each.exists() for each in folders.values()):
        loaded = open_base(model, dtype="float32", device="cpu")
        for number, (name, settings) in enumerate(kinds(rank).items()):
            if folders[name].exists():
                continue
            adapter = table.attach(loaded.engine, settings, name=name)
            generator = torch.Generator().manual_seed(number)
            for parameter in adapter.trained.values():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data.add_(NOISE * noise)
            store.save(folders[name], adapter, loaded.engine, base=str(loaded.base.folder))
            adapter.detach()
    return folders


def questions(count: int) -> list[str]:
    """Different ones, of no system prompt."""
    return [chat["prompt"][-1]["content"] for chat in chats()[:count]]


class Side:
    """This program's engine with all adapters on the base."""

    def __init__(self, model: str, folders: dict[str, Path], dtype: Any) -> None:
        self.shared = SharedBase.open(model, dtype=dtype, device="cpu")
        for name, folder in folders.items():
            self.shared.adapters.load(folder, name=name, force=True)
        self.engine = self.shared.loaded.engine

    def prompts(self, adapters: Adapters) -> list[Prompt]:
        """A question for each adapter."""
        return self.shared.prompts(questions(len(adapters)), adapters)

    def answer(self, prompts: Sequence[Prompt], tokens: int) -> tuple[list[list[int]], float]:
        """Greedy answers of so many tokens, all at once, and the seconds from first to last."""
        memory = SlotMemory(self.engine, budget=CACHE_BYTES, context=CONTEXT)
        limits = Limits(rows=len(prompts))
        scheduler = Scheduler(self.engine, memory, stop_ids=frozenset(), limits=limits)
        answers: list[list[int]] = [[] for _ in prompts]
        start = time.perf_counter()
        for prompt, answer in zip(prompts, answers, strict=True):
            sampling = Sampling(max_new_tokens=tokens)
            scheduler.submit(AnswerRequest(prompt, sampling, str), _into(answer))
        while scheduler.advance():
            pass
        return answers, time.perf_counter() - start


def _into(answer: list[int]) -> Callable[[MadeToken | AnswerEnd], None]:
    def hear(event: MadeToken | AnswerEnd) -> None:
        if isinstance(event, MadeToken):
            answer.append(event.token)
        elif event.error is not None:
            raise event.error

    return hear


def mix(rows: int = ROWS) -> list[str | None]:
    """Base, LoRA, prompt, p-tuning and IA3 in turns."""
    names = [*kinds(1), None]
    return [names[i % len(names)] for i in range(rows)]


def same_answers(model: str, folder: Path, *, rank: int, dtype: str, tokens: int) -> dict[str, Any]:
    """How many of the mixed rows are answered as each is alone."""
    side = Side(model, make_adapters(model, folder, rank=rank), dtype)
    prompts = side.prompts(mix())
    together, _ = side.answer(prompts, tokens)
    alone = [side.answer([prompt], tokens)[0][0] for prompt in prompts]
    same = sum(a == b for a, b in zip(together, alone, strict=True))
    return {"rows": len(prompts), "same": same}


def speed(model: str, folder: Path, *, rank: int, tokens: int, repeats: int) -> dict[str, Any]:
    """Tokens a second in bf16, in turns: base rows, the mix, LoRA rows, and these by PEFT."""
    folders = make_adapters(model, folder, rank=rank)
    side = Side(model, folders, "bfloat16")
    loras: list[str | None] = [f"lora{i % LORAS}" for i in range(ROWS)]
    batches = {"base": side.prompts([None] * ROWS), "mix": side.prompts(mix())}
    batches["lora"] = side.prompts(loras)
    theirs = _Peft(str(side.shared.loaded.base.folder), folders)
    found: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        for name, seconds in _round(side, batches, theirs, loras, tokens):
            if repeat:  # the first chooses kernels and fills caches
                found.setdefault(name, []).append(ROWS * tokens / seconds)
    pairs = {"mix to base": ("mix", "base"), "lora to peft": ("lora", "peft")}
    ratios = {
        name: [a / b for a, b in zip(found[one], found[other], strict=True)]
        for name, (one, other) in pairs.items()
    }
    return {
        "tokens_per_second": {name: statistics.median(each) for name, each in found.items()},
        "ratios": {name: [min(r), statistics.median(r), max(r)] for name, r in ratios.items()},
    }


def _round(
    side: Side, batches: dict[str, list[Prompt]], theirs: "_Peft", loras: Adapters, tokens: int
) -> Iterator[tuple[str, float]]:
    for name, prompts in batches.items():
        yield name, side.answer(prompts, tokens)[1]
    yield "peft", theirs.seconds(batches["lora"], [name or "" for name in loras], tokens)


class _Peft:
    """PEFT's batch of rows with `adapter_names`, all in bf16: its fastest way on a CPU."""

    def __init__(self, base: str, folders: dict[str, Path]) -> None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
        options = {"autocast_adapter_dtype": False}
        loras = {name: str(f) for name, f in folders.items() if name.startswith("lora")}
        first, *others = loras
        self.model = peft.PeftModel.from_pretrained(
            model, loras[first], adapter_name=first, **options
        )
        for name in others:
            self.model.load_adapter(loras[name], adapter_name=name, **options)
        self.model.to(torch.bfloat16).eval()

    @torch.no_grad()
    def seconds(self, prompts: Sequence[Prompt], names: list[str], tokens: int) -> float:
        """Of the same rows, padded on the left."""
        width = max(len(prompt.ids) for prompt in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, -len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, -len(prompt.ids) :] = 1
        start = time.perf_counter()
        made = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            adapter_names=names,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
        assert made.shape[1] == width + tokens
        return time.perf_counter() - start
