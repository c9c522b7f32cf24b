"""T1: TRL's SFTTrainer with bf16 weights and no gradient checkpointing, padded or packed."""

import argparse
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from benchmarks.measure import print_result, side_options
from benchmarks.sides.clocked import clocked
from benchmarks.workload import ROWS_PER_STEP, chats, steps_of_rows

PACK_TOKENS = 1024
PACKS_PER_STEP = 2


def main() -> None:
    """Train and print the JSON line."""
    parser = side_options(__doc__, documents=["rows"])
    parser.add_argument("--packing", action="store_true", help="packs of 1,024 tokens, two a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    trainer = clocked(SFTTrainer)(
        model=AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16),
        processing_class=tokenizer,
        args=_arguments(options),
        train_dataset=Dataset.from_list(chats()),
        peft_config=LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.train()
    if not options.packing:  # packs hold whole rows in an order of their own: theirs are counted
        steps = steps_of_rows(tokenizer, options.steps)
        trainer.step_log.tokens = [sum(len(d.ids) for d in step) for step in steps]
    print_result("T1 trl tuned, packed" if options.packing else "T1 trl tuned", trainer.step_log)


def _arguments(options: argparse.Namespace) -> SFTConfig:
    return SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_steps=options.steps,
        per_device_train_batch_size=PACKS_PER_STEP if options.packing else ROWS_PER_STEP,
        packing=options.packing,
        max_length=PACK_TOKENS,
        gradient_checkpointing=False,
        bf16=True,
        learning_rate=2e-4,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
    )


if __name__ == "__main__":
    main()
