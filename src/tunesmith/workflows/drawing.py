"""Answers of one arm to any prompts, greedy or drawn: what measures beside the checks ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.data.chat_format import study
from tunesmith.data.rows import Message, Tool
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import split_thinking
from tunesmith.generate.decoder import Prompt
from tunesmith.generate.loop import generate
from tunesmith.generate.sampling import Sampling
from tunesmith.workflows.opening import Opened


@dataclass(frozen=True, slots=True)
class Asked:
    """Messages that end with a question; ``draw`` keys the random numbers of its answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    draw: int | None = None


def answers_to(
    opened: Opened,
    asked: Sequence[Asked],
    *,
    adapter: str | None,
    sampling: Sampling,
    seed: int,
    go_on: Callable[[int], bool] = lambda _: True,
) -> tuple[str, ...] | None:
    """What the arm says, without what it thought before, in the order of ``asked``.

    The same seed and draw give the same answer, whatever stands beside it. ``go_on`` is told how
    many are done; None where it says no before the last one.
    """
    tokenizer = opened.tokenizer(adapter)
    chat_format = study(tokenizer)
    context = opened.base.context - opened.engine.prefix_length(adapter)
    prompts = []
    for each in asked:
        ids = render_prompt(tokenizer, each.messages, each.tools, chat_format=chat_format)
        most = max(1, context - len(ids))
        prompts.append(Prompt(tuple(ids), adapter, each.draw, most=most))
    texts = [""] * len(prompts)
    made = generate(
        opened.engine, prompts, stop_ids=opened.base.stop_ids, sampling=sampling, seed=seed
    )
    for count, one in enumerate(made, start=1):
        text = tokenizer.decode(
            one.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        texts[one.row] = split_thinking(text)[1]
        if not go_on(count) and count < len(prompts):
            return None
    return tuple(texts)
