"""A task with answers of the base itself among its rows: what retention is compared with."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.methods.measure import MODEL
from benchmarks.methods.tasks import Row, Task
from tunesmith.adapters.loaded_base import LoadedBase, open_base
from tunesmith.core.progress import UNSEEN
from tunesmith.runs.base_texts import DEFAULT_LANGUAGE, prompts_of, written_by

SHARE = 0.25  # of the rows' tokens, as retention's


def replayed(task: Task) -> Task:
    """The same task; its training rows have the base's answers to everyday questions beside."""

    def beside(rows: Sequence[Row]) -> list[Row]:
        loaded = open_base(MODEL)
        left = SHARE * sum(_tokens(loaded, row) for row in rows)
        found = []
        for row in _answers(loaded):
            left -= _tokens(loaded, row)
            if left < 0:
                break
            found.append(row)
        return found

    return replace(task, beside=beside)


def _answers(loaded: LoadedBase) -> Iterator[Row]:
    """The chats among the texts that a run retains: those whose prompt ends a user's turn."""
    languages, tokenizer = (DEFAULT_LANGUAGE,), loaded.base.tokenizer
    written = written_by(loaded, languages, phase=UNSEEN)
    for number, (prompt, ids) in enumerate(
        zip(prompts_of(loaded, languages), written, strict=True)
    ):
        if number % 2:  # the others continue a text
            asked = tokenizer.decode(prompt.ids).split("<|im_start|>user\n")[1]
            said = tokenizer.decode(ids[len(prompt.ids) :], skip_special_tokens=True)
            turns = (("user", asked.split("<|im_end|>")[0]), ("assistant", said.strip()))
            yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def _tokens(loaded: LoadedBase, row: Row) -> int:
    return len(loaded.base.tokenizer.apply_chat_template(row["messages"], return_dict=False))
