"""Four arms' answers to the same rows: Tunesmith beside transformers' `generate`.

    python -m benchmarks.evaluation_speed --run RUN [--rows 500] [--dtype bfloat16] [--threads 2]

RUN is a judged run with `evaluate.baseline_prompt` and as many held-out rows, such as one of
`benchmarks.reports`: its rows, prompts and adapter are taken. transformers gets the prompts sorted
by length, padded in front, and the adapter merged into its weights; every batch size answers some
prompts of each arm, and the fastest answers all. Both sides answer greedily; times are without
loading. In float32 the answers must be the same.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.run import run_module
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.config.load import load_run_config
from tunesmith.evaluation.answering import AnswerCache, answer_arms
from tunesmith.evaluation.answers import questions_of, with_answer_length
from tunesmith.evaluation.arms import arm_of, base_arms
from tunesmith.evaluation.comparison import TUNED
from tunesmith.generation.sampling import Sampling
from tunesmith.runs.rows import load_rows

SIDE = "benchmarks.sides.hf_answers"


def main() -> None:
    """Answer on both sides and print a JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16, 32, 64, 128])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work.json"
        ours, work_document = tunesmith(given, Path(scratch))
        work.write_text(json.dumps(work_document), encoding="utf-8")
        theirs = run_module([SIDE, str(work), "--threads", str(given.threads)], given.threads)
    pairs = [
        (arm, a == b)
        for arm, texts in ours["answers"].items()
        for a, b in zip(texts, theirs["answers"][arm], strict=True)
    ]
    document = {
        "dtype": given.dtype,
        "rows": len(pairs) // len(ours["answers"]),
        "threads": given.threads,
        "prompt_tokens": work_document["mean_tokens"],
        "answer_tokens": {
            arm: sum(map(len, texts)) / len(texts) for arm, texts in ours["answers"].items()
        },
        "tunesmith_seconds": ours["seconds"],
        "transformers_seconds": theirs["seconds"],
        "transformers_batch": theirs["batch"],
        "transformers_tried": theirs["tried"],
        "ratio": theirs["seconds"] / ours["seconds"],
        "same_answers": sum(same for _, same in pairs) / len(pairs),
    }
    print(json.dumps(document, indent=2))


def tunesmith(given: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our answers and their seconds, and what the other side is given."""
    config = load_run_config(given.run / "config.yaml", {})
    loaded = open_base(config.model, dtype=given.dtype)
    tokenizer = loaded.base.tokenizer
    rows = load_rows(config.data, tokenizer, context=loaded.base.context, seed=config.train.seed)
    questions = questions_of(rows.held_conversations, tokenizer, limit=given.rows)
    settings = with_answer_length(config, rows.held).evaluate
    base = base_arms(loaded, questions, settings, rows=rows.sample, seed=config.train.seed)
    adapter = attach_folder(loaded, given.run / "adapter", name=TUNED)
    arms = {**base.arms, TUNED: arm_of(loaded, TUNED, questions, adapter=adapter.name)}
    caches = {name: AnswerCache(scratch / f"{name}.jsonl") for name in arms}
    start = time.perf_counter()
    said = answer_arms(
        loaded.engine,
        arms,
        caches,
        sampling=Sampling(max_new_tokens=settings.longest_answer),
        stop_ids=loaded.base.stop_ids,
    )
    seconds = time.perf_counter() - start
    assert said is not None
    answers = {name: [list(one.ids) for one in each] for name, each in said.items()}
    return {"seconds": seconds, "answers": answers}, {
        "model": str(loaded.base.folder),
        "adapter": str(given.run / "adapter"),
        "dtype": given.dtype,
        "max_new_tokens": settings.longest_answer,
        "stop_ids": sorted(loaded.base.stop_ids),
        "batches": given.batches,
        "arms": {name: [list(prompt.ids) for prompt in arm.prompts] for name, arm in arms.items()},
        "mean_tokens": {name: arm.prompt_tokens for name, arm in arms.items()},
        "tuned": TUNED,
    }


if __name__ == "__main__":
    main()
