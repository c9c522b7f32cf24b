"""What a user of PEFT and the Trainer usually writes: 8 rows a step, 3 epochs, a rate of 2e-4.

LoRA has rank 16. Everything else is transformers' default, the linear decay without warm-up too.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
import transformers
from peft import get_peft_model
from transformers import Trainer, TrainingArguments

from benchmarks.sides.hf_rows import labelled
from benchmarks.sides.peers import lora


def main() -> None:
    """Train, save the adapter and print a JSON line with the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of the base")
    parser.add_argument("work", type=Path, help="JSON: rows with ids and weights")
    parser.add_argument("end", help="folder to save into")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    rows = [labelled(row) for row in json.loads(given.work.read_text(encoding="utf-8"))]
    base = transformers.AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.bfloat16)
    model, start = get_peft_model(base, lora(16)), time.perf_counter()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=8,
            num_train_epochs=3,
            learning_rate=2e-4,
            seed=given.seed,
            bf16=True,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows,
        data_collator=transformers.DataCollatorForSeq2Seq(
            transformers.AutoTokenizer.from_pretrained(given.model, padding_side="right")
        ),
    )
    trainer.train()
    seconds = time.perf_counter() - start
    model.save_pretrained(given.end)
    print(json.dumps({"steps": trainer.state.global_step, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
