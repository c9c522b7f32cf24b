"""T1: TRL's SFTTrainer with bf16 weights and no gradient checkpointing, padded or packed."""

import argparse

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from benchmarks.measure import print_result, side_options
from benchmarks.sides.clocked import clocked
from benchmarks.sides.peers import count_own_tokens_, lora, plain_arguments
from benchmarks.workload import ROWS_PER_STEP, chats

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
        peft_config=lora(),
    )
    trainer.train()
    if not options.packing:  # packs hold whole rows in an order of their own: theirs are counted
        count_own_tokens_(trainer.step_log, tokenizer, options.steps)
    print_result("T1 trl tuned, packed" if options.packing else "T1 trl tuned", trainer.step_log)


def _arguments(options: argparse.Namespace) -> SFTConfig:
    return SFTConfig(
        **plain_arguments(options.steps),
        per_device_train_batch_size=PACKS_PER_STEP if options.packing else ROWS_PER_STEP,
        packing=options.packing,
        max_length=PACK_TOKENS,
        gradient_checkpointing=False,
        bf16=True,
        learning_rate=2e-4,
    )


if __name__ == "__main__":
    main()
