"""A folder loaded by transformers, or PEFT for an adapter, beside what it was made from."""

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from tunesmith.adapters import store
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import encode
from tunesmith.exports.compare import (
    MOST_TOKENS,
    ExportComparison,
    Here,
    compared,
    first_scores,
    greedy_answers,
    prompts_of,
)
from tunesmith.exports.gguf_vocabulary import templates_of
from tunesmith.models.quiet import quiet_transformers

Said = tuple[Mapping[str, Any], NDArray[np.float32]]


class Program(Protocol):
    """A model of another program."""

    generation_config: Any

    def generate(self, **options: object) -> Any:  # transformers' own
        """Sequences [1, T] and the logits [1, V] of each new token."""


def has_peft() -> bool:
    """Whether PEFT is installed here."""
    return importlib.util.find_spec("peft") is not None


def compare_model(
    here: Here,
    folder: Path,
    conversations: Sequence[Sequence[Message]],
    *,
    most_tokens: int = MOST_TOKENS,
) -> ExportComparison:
    """Answer every conversation greedily here and by transformers over the model in ``folder``.

    In fp32 on both sides, so that what differs is what the folder's number format rounds away.
    """
    texts, prompts = prompts_of(here.tokenizer, conversations)
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        said = _answered(here, model, tokenizer, conversations, (prompts, most_tokens))
    told = {**said[0], "version": version("transformers")}
    return compared(
        here, prompts, texts, (told, said[1]), most_tokens=most_tokens, program="transformers"
    )


def compare_adapter(
    here: Here,
    folder: Path,
    base: Path,
    conversations: Sequence[Sequence[Message]],
    *,
    most_tokens: int = MOST_TOKENS,
) -> ExportComparison:
    """The same with the adapter in ``folder`` over the base in ``base``, by PEFT.

    Where PEFT is not installed this program reads the folder back, under a name of its own.
    """
    texts, prompts = prompts_of(here.tokenizer, conversations)
    if not has_peft():
        there = _read_back(here, folder, prompts, texts, most_tokens)
        return compared(here, prompts, texts, there, most_tokens=most_tokens, program="tunesmith")
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = _with_peft(folder, base)
        tokenizer = AutoTokenizer.from_pretrained(folder if own else base)
        said = _answered(here, model, tokenizer, conversations, (prompts, most_tokens))
    told = {**said[0], "version": version("peft")}
    return compared(here, prompts, texts, (told, said[1]), most_tokens=most_tokens, program="PEFT")


def _with_peft(folder: Path, base: Path) -> Program:
    """The adapter over the base, with room for tokens of its own."""
    from peft import PeftModel

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if ids := store.token_ids(folder):
        rows = len(plain.get_input_embeddings().weight)
        plain.resize_token_embeddings(max(rows, max(ids) + 1))
    model: Program = PeftModel.from_pretrained(plain, folder).eval()
    return model


@torch.inference_mode()
def _answered(
    here: Here,
    model: Program,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    asked: tuple[Sequence[list[int]], int],
) -> Said:
    """What the program says, in the form of ``llama_worker.answer``; logits [K, V]."""
    prompts, most_tokens = asked
    stops = sorted(here.stop_ids)
    # of its own: what the folder sets (sampling, penalties) is not part of the model
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=most_tokens, eos_token_id=stops, pad_token_id=stops[0]
    )
    own_ends = _ends(model.generation_config)
    rows: list[dict[str, object]] = []
    logits: list[torch.Tensor] = []
    for ids, conversation in zip(prompts, conversations, strict=True):
        made = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            generation_config=greedy,
            output_logits=True,
            return_dict_in_generate=True,
        )
        answer = made.sequences[0, len(ids) :].tolist()
        ended = bool(answer) and answer[-1] in here.stop_ids
        rows.append(
            {"answer": answer[: -1 if ended else None], **_rendered(tokenizer, conversation)}
        )
        logits.append(made.logits[0][0].float())
    said = {
        "rows": rows,
        "template": templates_of(tokenizer).get("default"),
        "ends": [i in own_ends for i in stops],
    }
    return said, torch.stack(logits).numpy()


def _rendered(
    tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Message]
) -> dict[str, object]:
    try:
        text = chat_text(tokenizer, given(conversation), prompt=True)
    except TEMPLATE_ERRORS as error:
        return {"rendered": None, "ids": None, "failure": f"{type(error).__name__}: {error}"}
    return {"rendered": text, "ids": encode(tokenizer, [text])[0], "failure": None}


def _ends(generation: object) -> set[int]:
    found = getattr(generation, "eos_token_id", None)
    return set(found if isinstance(found, list) else [] if found is None else [found])


def _read_back(
    here: Here, folder: Path, prompts: Sequence[list[int]], texts: Sequence[str], most_tokens: int
) -> Said:
    from tunesmith import __version__

    name = "exported"
    adapter = store.load(here.engine, folder, name=name)
    try:
        other = Here(here.engine, here.tokenizer, here.stop_ids, name)
        answers = greedy_answers(other, prompts, most_tokens)
        logits = torch.stack([first_scores(other, ids) for ids in prompts])
    finally:
        adapter.detach()
    rows = [
        {"answer": answers[i], "ids": ids, "rendered": texts[i], "failure": None}
        for i, ids in enumerate(prompts)
    ]
    said = {
        "rows": rows,
        "template": templates_of(here.tokenizer).get("default"),
        "ends": [True] * len(here.stop_ids),
        "version": __version__,
    }
    return said, logits.numpy()
