"""transformers' `generate` over given prompts: the fastest of several batch sizes answers all."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

TRIED = 2  # batches of the largest size, of each arm, that a size is tried on


def main() -> None:
    """Answer and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    work = json.loads(given.work.read_text(encoding="utf-8"))
    torch.set_num_threads(given.threads)
    dtype = getattr(torch, work["dtype"])
    plain = AutoModelForCausalLM.from_pretrained(work["model"], dtype=dtype).eval()
    other = AutoModelForCausalLM.from_pretrained(work["model"], dtype=dtype)
    tuned = PeftModel.from_pretrained(other, work["adapter"]).merge_and_unload().eval()
    models = {arm: tuned if arm == work["tuned"] else plain for arm in work["arms"]}
    count = TRIED * max(work["batches"])
    few = {arm: prompts[:: -(-len(prompts) // count)] for arm, prompts in work["arms"].items()}
    tried = {size: _answered(models, few, size, work)[0] for size in work["batches"]}
    best = min(tried, key=lambda size: tried[size])
    seconds, answers = _answered(models, work["arms"], best, work)
    result = {"seconds": seconds, "batch": best, "tried": tried, "answers": answers}
    print(json.dumps(result), flush=True)


@torch.inference_mode()
def _answered(
    models: dict[str, Any], arms: dict[str, list[list[int]]], size: int, work: dict[str, Any]
) -> tuple[float, dict[str, list[list[int]]]]:
    """Seconds, and each arm's answers without the stop token, in the order of its prompts."""
    start = time.perf_counter()
    answers: dict[str, list[list[int]]] = {}
    for arm, prompts in arms.items():
        found: dict[int, list[int]] = {}
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for at in range(0, len(order), size):
            batch = order[at : at + size]
            made = _generated(models[arm], [prompts[i] for i in batch], work)
            found.update(zip(batch, made, strict=True))
        answers[arm] = [found[i] for i in range(len(prompts))]
    return time.perf_counter() - start, answers


def _generated(model: Any, prompts: list[list[int]], work: dict[str, Any]) -> list[list[int]]:
    longest = max(map(len, prompts))
    pad = work["stop_ids"][0]
    ids = torch.tensor([[pad] * (longest - len(each)) + each for each in prompts])
    mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts])
    made = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=work["max_new_tokens"],
        eos_token_id=work["stop_ids"],
        pad_token_id=pad,
    )
    stops = set(work["stop_ids"])
    answers = []
    for row in made[:, longest:].tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        answers.append(row[:end])
    return answers


if __name__ == "__main__":
    main()
