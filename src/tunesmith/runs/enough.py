"""Are there enough rows and steps to learn, and held-out rows to tell by; how many would be?"""

import math
from collections.abc import Iterator, Sequence

from tunesmith.config.methods import AnyMethod
from tunesmith.config.run import RunConfig, TrainSettings
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import Note
from tunesmith.data.quality.distribution import few_rows
from tunesmith.data.read import with_system_message
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenize import Renderer
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.evaluation.comparison import rows_to_show, smallest_difference
from tunesmith.methods import table
from tunesmith.training.length import choose_length
from tunesmith.training.steps import EARLIER_EPOCHS, Copies, Lengths, total_steps

# From docs/data-quality.md, "Few steps": runs of 18 to 24 steps learned little of tasks that those
# of 47 and more learned from the same rows.
ENOUGH_STEPS = 45
ROWS_PER_STEP = 8  # with which docs/methods.md was measured
MAX_EPOCHS = 10  # that are advised: where these are too few, rows are
WANTED = 0.1  # the difference that enough held-out rows can show


def few_notes(
    config: RunConfig, lengths: Lengths, held: int, *, copies: Copies = ()
) -> Iterator[Note]:
    """Reports few rows of these lengths in tokens, few steps over them, and few ``held`` out.

    Held-out rows only where checks are to tell something by them.
    """
    method = config.method
    yield from few_rows(len(lengths), method.kind, enough=table.of(method).min_rows)
    yield from few_steps(lengths, config.train, method=method, copies=copies)
    if config.evaluate.checks:
        yield from few_held_out(min(held, config.evaluate.rows))


MAX_COUNTED = 2000  # rows whose tokens are counted: more of them are enough for a run
LONGEST = 1 << 20  # tokens of a row


def few_of_rows(
    config: RunConfig, rows: Sequence[Conversation], held: int, *, tokenizer: Tokenizer | None
) -> Iterator[Note]:
    """The same of rows to train on that were not tokenized; without ``tokenizer`` not the steps."""
    if tokenizer is None:
        enough = table.of(config.method).min_rows
        yield from few_rows(len(rows), config.method.kind, enough=enough)
    elif len(rows) <= MAX_COUNTED:
        asked = [with_system_message(row, config.data.system) for row in rows]
        documents = Renderer(tokenizer, max_tokens=LONGEST).documents(asked)
        lengths = [len(row.ids) for made in documents for row in made.value or ()]
        yield from few_notes(config, lengths, held)
    if tokenizer is None or not config.evaluate.checks:  # which are chosen after this
        yield from few_held_out(min(held, config.evaluate.rows))


def few_steps(
    lengths: Lengths, settings: TrainSettings, *, method: AnyMethod, copies: Copies = ()
) -> Iterator[Note]:
    """Reports a run of few optimizer steps over rows of so many tokens, and what makes more.

    Nothing where `minutes` rules: their steps are known when speed was measured.
    """
    if not len(lengths) or settings.minutes is not None:
        return
    found = choose_length(settings, lengths, method=method, has_held=False, copies=copies)
    settings = found.settings
    steps = total_steps(lengths, settings, copies=copies)
    if steps >= ENOUGH_STEPS:
        return
    more = _more_steps(lengths, settings, steps, copies)
    what = f"few steps ({steps:,}): a task takes about {ENOUGH_STEPS} or more; {more}"
    yield Note("few_steps", what, len(lengths))


def _more_steps(lengths: Lengths, settings: TrainSettings, steps: int, copies: Copies) -> str:
    """The flags that make enough steps of these rows."""
    if settings.steps is not None:
        return f"give --train.steps {ENOUGH_STEPS} or more"
    smaller = {"rows_per_step": ROWS_PER_STEP, "tokens_per_step": None}
    by_rows = total_steps(lengths, settings.model_copy(update=smaller), copies=copies)
    flags = [f"--train.rows_per_step {ROWS_PER_STEP}"] if by_rows > steps else []
    made = max(steps, by_rows)
    if made >= ENOUGH_STEPS:
        return f"{' '.join(flags)} makes {made:,}"
    epochs = settings.epochs if isinstance(settings.epochs, int | float) else EARLIER_EPOCHS
    wanted = min(math.ceil(epochs * ENOUGH_STEPS / made), max(MAX_EPOCHS, math.ceil(epochs)))
    if wanted > epochs:
        flags.append(f"--train.epochs {wanted}")
    made = round(made * wanted / epochs)
    makes = f"{' '.join(flags)} makes about {made:,}" if flags else ""
    return "; ".join(filter(None, (makes, "add rows" if made < ENOUGH_STEPS else "")))


def few_held_out(rows: int) -> Iterator[Note]:
    """Reports held-out rows with which only a large difference of a check can show."""
    enough = rows_to_show(WANTED)
    if not rows or enough is None or rows >= enough:
        return
    least = smallest_difference(rows)
    shows = "no difference"
    if least is not None:
        shows = f"a difference of {100 * least:.0f} points or more"
    what = (
        f"few held-out rows: they show {shows}, and {pluralize(enough, 'row')} one of "
        f"{100 * WANTED:.0f} points, if no answer gets worse: add rows, or hold out more with "
        "--data.eval"
    )
    yield Note("few_held_out", what, rows)
