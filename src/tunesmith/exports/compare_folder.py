"""A folder loaded by transformers, or PEFT for an adapter, compared with its source."""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith import __version__
from tunesmith.adapters import store
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import encode
from tunesmith.exports.compare import (
    AskedPrompts,
    ExportComparison,
    Here,
    compared,
    first_scores,
    greedy_answers,
    prompts_of,
)
from tunesmith.exports.gguf_vocabulary import templates_of
from tunesmith.models.load import read_config
from tunesmith.models.quiet import quiet_transformers
from tunesmith.models.text_part import auto_class


class Program(Protocol):
    """A model of another program."""

    generation_config: Any

    def generate(self, **options: object) -> Any:  # transformers' own
        """Sequences [1, T] and the logits [1, V] of each new token."""


def has_peft() -> bool:
    """Whether PEFT is installed here."""
    return importlib.util.find_spec("peft") is not None


def compare_model(
    here: Here, folder: Path, conversations: Sequence[Sequence[Message]]
) -> ExportComparison:
    """Answer every conversation greedily here and by transformers over the model in ``folder``.

    In fp32 on both sides, so that differences come from the folder's number format alone.
    """
    asked = prompts_of(here, conversations)
    with _quiet():
        model = _opened(folder, torch.float32).eval()
        return _compared_with(here, asked, model, folder, "transformers")


def compare_adapter(
    here: Here, folder: Path, base: Path, conversations: Sequence[Sequence[Message]]
) -> ExportComparison:
    """The same with the adapter in ``folder`` over the base in ``base``, by PEFT.

    Where PEFT is not installed this program reads the folder back, under a name of its own.
    """
    asked = prompts_of(here, conversations)
    if not has_peft():
        return _read_back(here, asked, folder)
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    tokenizer_folder = folder if own else base
    with _quiet():
        return _compared_with(here, asked, with_peft(folder, base), tokenizer_folder, "PEFT")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def with_peft(folder: Path, base: Path, *, dtype: torch.dtype | str = torch.float32) -> Program:
    """The adapter in ``folder`` over the base in ``base`` by PEFT, with room for its own tokens.

    ``dtype`` is the base's number format; "auto": that of its files.
    """
    from peft import PeftModel

    plain = _opened(base, dtype)
    if ids := store.token_ids(folder):
        rows = len(plain.get_input_embeddings().weight)
        plain.resize_token_embeddings(max(rows, max(ids) + 1))
    model: Program = PeftModel.from_pretrained(plain, folder).eval()
    return model


def _opened(folder: Path, dtype: torch.dtype | str) -> PreTrainedModel:
    """A folder's model by transformers, as its whole class."""
    config = read_config(folder, trust_remote_code=False)
    model: PreTrainedModel = auto_class(config).from_pretrained(folder, dtype=dtype)
    return model


@torch.inference_mode()
def _compared_with(
    here: Here, asked: AskedPrompts, model: Program, tokenizer_folder: Path, program: str
) -> ExportComparison:
    """The program's answers in the form of ``llama_worker.answer``, compared."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    stops = sorted(here.stop_ids)
    # of its own: what the folder sets (sampling, penalties) is not part of the model
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=asked.max_tokens,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    given_ends = getattr(model.generation_config, "eos_token_id", None)
    own_ends = given_ends if isinstance(given_ends, list) else [given_ends]
    rows: list[dict[str, object]] = []
    logits: list[torch.Tensor] = []
    for ids, conversation in zip(asked.ids, asked.conversations, strict=True):
        made = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            generation_config=greedy,
            output_logits=True,
            return_dict_in_generate=True,
        )
        answer = made.sequences[0, len(ids) :].tolist()
        if answer and answer[-1] in here.stop_ids:
            answer.pop()
        rows.append({"answer": answer, **_rendered(tokenizer, conversation)})
        logits.append(made.logits[0][0].float())
    there = _there(rows, tokenizer, [i in own_ends for i in stops], program)
    return compared(here, asked, there, torch.stack(logits).numpy())


def _there(
    rows: object, tokenizer: PreTrainedTokenizerBase, ends: Sequence[bool], program: str
) -> dict[str, object]:
    """What ``llama_worker.answer`` gives, of a program on this Python."""
    return {
        "rows": rows,
        "template": templates_of(tokenizer).get("default"),
        "ends": ends,
        "version": __version__ if program == "tunesmith" else version(program.lower()),
        "program": program,
    }


def _rendered(
    tokenizer: PreTrainedTokenizerBase, conversation: Sequence[Message]
) -> dict[str, object]:
    try:
        text = chat_text(tokenizer, given(conversation), prompt=True)
    except TEMPLATE_ERRORS as error:
        return {"rendered": None, "ids": None, "failure": f"{type(error).__name__}: {error}"}
    return {"rendered": text, "ids": encode(tokenizer, [text])[0], "failure": None}


def _read_back(here: Here, asked: AskedPrompts, folder: Path) -> ExportComparison:
    name = "exported"
    adapter = store.load(here.engine, folder, name=name)
    try:
        other = Here(here.engine, here.tokenizer, here.stop_ids, name)
        answers = greedy_answers(other, asked)
        logits = torch.stack([first_scores(other, ids) for ids in asked.ids])
    finally:
        adapter.detach()
    rows = [
        {"answer": answers[i], "ids": ids, "rendered": text, "failure": None}
        for i, (ids, text) in enumerate(zip(asked.ids, asked.texts, strict=True))
    ]
    there = _there(rows, here.tokenizer, [True] * len(here.stop_ids), "tunesmith")
    return compared(here, asked, there, logits.cpu().numpy())
