"""The same file through `datasets.map` in one process: the chat template applied, and tokenised.

It neither checks a row nor finds what is supervised; with --prompts the prompt is rendered as well,
as masks of the answers need it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets

from tunesmith.runs.inspect_data import open_tokenizer

Row = dict[str, Any]


def main() -> None:
    """Print rows and seconds as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--batched", action="store_true", help="1,000 rows a call, as map does")
    parser.add_argument("--prompts", action="store_true")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    given = parser.parse_args()
    tokenizer = open_tokenizer(given.model).tokenizer
    datasets.disable_progress_bars()

    def encoded(row: Row) -> Row:
        messages = row["messages"]
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        if not given.prompts:
            return {"input_ids": ids}
        prompt = tokenizer.apply_chat_template(
            messages[:-1], tokenize=True, return_dict=False, add_generation_prompt=True
        )
        return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}

    with tempfile.TemporaryDirectory(dir=given.file.parent) as cache:
        start = time.perf_counter()
        rows = datasets.load_dataset(
            "json", data_files=str(given.file), cache_dir=cache, split="train"
        )
        done = rows.map(encoded, batched=given.batched, remove_columns=rows.column_names)
        seconds = time.perf_counter() - start
        print(json.dumps({"rows": len(done), "seconds": seconds}))


if __name__ == "__main__":
    main()
