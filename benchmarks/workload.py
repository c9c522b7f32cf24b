"""Which documents does every side train on? W1's rows, or long documents cut from their text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

SYSTEM = "You are a patient maths tutor. Think step by step and show your working."
ROWS = Path(__file__).parent / "data" / "gsm8k_test_first104.jsonl"
ROWS_PER_STEP = 8
LONG_TOKENS = 512
END_OF_TURN = "<|im_end|>"

Chat = dict[str, list[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document: token ids, and for each whether predicting it counts in the loss."""

    ids: list[int]
    supervised: list[bool]

    @property
    def labels(self) -> list[int]:
        """The ids where they are supervised and -100 elsewhere, as transformers wants them."""
        return [i if s else -100 for i, s in zip(self.ids, self.supervised, strict=True)]


def chats() -> list[Chat]:
    """The rows of W1 as prompt/completion chats, in the order of the file."""
    lines = ROWS.read_text(encoding="utf-8").splitlines()
    return [_chat(row["question"], row["answer"]) for row in map(json.loads, lines)]


def _chat(question: str, answer: str) -> Chat:
    return {
        "prompt": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "completion": [{"role": "assistant", "content": answer}],
    }


def encode(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> Encoded:
    """A chat in the model's template; supervised are the answer and the token that ends it."""
    prompt = _ids(tokenizer, chat["prompt"], generation=True)
    whole = _ids(tokenizer, chat["prompt"] + chat["completion"], generation=False)
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    stop = len(whole) - whole[::-1].index(end)  # behind the last end of a turn
    if whole[: len(prompt)] != prompt:
        raise ValueError("The rendered prompt is no beginning of the rendered conversation.")
    return Encoded(whole[:stop], [i >= len(prompt) for i in range(stop)])


def _ids(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, generation: bool
) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def steps_of_rows(tokenizer: PreTrainedTokenizerBase, steps: int) -> list[list[Encoded]]:
    """W1: the rows of each step, in the order of the file."""
    return _in_steps([encode(tokenizer, chat) for chat in chats()], steps)


def steps_of_long_documents(tokenizer: PreTrainedTokenizerBase, steps: int) -> list[list[Encoded]]:
    """W1's text run together and cut every 512 tokens, every token but the first supervised."""
    stream = [i for chat in chats() for i in encode(tokenizer, chat).ids]
    starts = range(0, len(stream) - LONG_TOKENS + 1, LONG_TOKENS)
    supervised = [i > 0 for i in range(LONG_TOKENS)]
    return _in_steps([Encoded(stream[s : s + LONG_TOKENS], supervised) for s in starts], steps)


DOCUMENTS = {"rows": steps_of_rows, "long": steps_of_long_documents}


def _in_steps(documents: Sequence[Encoded], steps: int) -> list[list[Encoded]]:
    if steps * ROWS_PER_STEP > len(documents):
        raise SystemExit(
            f"{steps} steps need {steps * ROWS_PER_STEP} documents and there are "
            f"{len(documents)}. Give --steps {len(documents) // ROWS_PER_STEP} or less."
        )
    starts = range(0, steps * ROWS_PER_STEP, ROWS_PER_STEP)
    return [list(documents[s : s + ROWS_PER_STEP]) for s in starts]
