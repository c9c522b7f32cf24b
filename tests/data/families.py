"""Chat templates of model families, each with a tiny tokenizer that has its special tokens."""

import functools
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from tests.data.tiny import LLAMA3_SPLIT, tiny_tokenizer

TEMPLATES = Path(__file__).parent / "templates"
CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA += ("<|eom_id|>", "<|python_tag|>", "<|end_of_text|>")
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
PHI = ("<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
GRANITE = ("<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>", "<|end_of_text|>")
AYA = ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>")
AYA += ("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>")
MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
MISTRAL += ("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
HARMONY = ("<|startoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>")
HARMONY += ("<|channel|>", "<|call|>")
GEMMA4 = ("<bos>", "<eos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>")
GEMMA4 += ("<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')
GEMMA4 += ("<|think|>",)
MINISTRAL = (*MISTRAL, "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[ARGS]", "[THINK]", "[/THINK]")
SIDES = ("system", "developer", "user", "assistant")
APERTUS = tuple(f"<|{who}_{edge}|>" for who in SIDES for edge in ("start", "end"))
APERTUS += ("<s>", "</s>", "<|inner_prefix|>", "<|inner_suffix|>")
APERTUS += ("<|tools_prefix|>", "<|tools_suffix|>")
SEED = ("<seed:bos>", "<seed:eos>", "<seed:pad>", "<seed:tool_call>", "</seed:tool_call>")
SEED += ("<seed:think>", "</seed:think>", "<seed:cot_budget_reflect>", "</seed:cot_budget_reflect>")
PHI4 = ("<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|endoftext|>")
THINK = ("<think>", "</think>")
CALLS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")


@dataclass(frozen=True)
class Family:
    """A template's name, special tokens, added ones, and the token that ends an answer."""

    name: str
    special: tuple[str, ...]
    end: str
    bos: str | None
    eos: str
    added: tuple[str, ...] = ()
    split: str | None = None

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The family's template, with a tokenizer of its tokens."""
        return self.with_template(self.name)

    @functools.cached_property
    def marked(self) -> PreTrainedTokenizerFast:
        """The same with the {% generation %} variant of its template."""
        return self.with_template(f"marked/{self.name}")

    def with_template(self, name: str) -> PreTrainedTokenizerFast:
        """The family's tokens under another template."""
        return tiny_tokenizer(
            (TEMPLATES / f"{name}.jinja").read_text(),
            special=self.special,
            added=self.added,
            split=self.split,
            bos=self.bos,
            eos=self.eos,
        )


QWEN3_TOKENS = ("<|im_end|>", None, "<|im_end|>", CALLS + THINK)
FAMILIES = {
    family.name: family
    for family in (
        Family("smollm2", CHATML, "<|im_end|>", "<|im_start|>", "<|im_end|>"),
        Family("llama3_1", LLAMA, "<|eot_id|>", LLAMA[0], "<|eot_id|>", split=LLAMA3_SPLIT),
        Family("llama3_2", LLAMA, "<|eot_id|>", LLAMA[0], "<|eot_id|>", split=LLAMA3_SPLIT),
        Family("qwen2_5", CHATML, "<|im_end|>", None, "<|im_end|>", CALLS),
        Family("qwen3", CHATML, *QWEN3_TOKENS, split=LLAMA3_SPLIT),
        Family("qwq", CHATML, "<|im_end|>", None, "<|im_end|>", CALLS + THINK),
        Family("gemma2", GEMMA, "<end_of_turn>", "<bos>", "<eos>"),
        Family("gemma3", GEMMA, "<end_of_turn>", "<bos>", "<eos>"),
        Family("mistral_nemo", MISTRAL, "</s>", "<s>", "</s>"),
        Family("phi3_5", PHI, "<|end|>", "<s>", "<|endoftext|>"),
        Family("granite3_3", GRANITE, "<|end_of_text|>", None, "<|end_of_text|>"),
        Family("aya", AYA, "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
        Family("deepseek_r1_distill", DEEPSEEK, DEEPSEEK[1], DEEPSEEK[0], DEEPSEEK[1], THINK),
        Family("smollm3", CHATML, "<|im_end|>", None, "<|im_end|>", THINK),
        Family("qwen3_5_small", CHATML, *QWEN3_TOKENS, split=LLAMA3_SPLIT),
        Family("gemma4", GEMMA4, "<turn|>", "<bos>", "<eos>"),
        Family("granite4", GRANITE, "<|end_of_text|>", None, "<|end_of_text|>", CALLS),
        Family("ministral3", MINISTRAL, "</s>", "<s>", "</s>"),
        Family("seed_oss", SEED, "<seed:eos>", "<seed:bos>", "<seed:eos>"),
        Family("gpt_oss", HARMONY, "<|return|>", "<|startoftext|>", "<|return|>"),
    )
}
APERTUS_8B = Family("apertus", APERTUS, "<|assistant_end|>", "<s>", "<|assistant_end|>")
QWEN3_5 = Family("qwen3_5", CHATML, *QWEN3_TOKENS, split=LLAMA3_SPLIT)
PHI4_REASONING = Family("phi4_reasoning", PHI4, "<|im_end|>", "<|endoftext|>", "<|im_end|>", THINK)
