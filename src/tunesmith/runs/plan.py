"""From a config or a base's name to a plan: sizes read, rows sampled, devices found; no weights."""

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.config.methods import AnyMethod
from tunesmith.config.run import AUTO, RunConfig
from tunesmith.data.quality.report import analyze
from tunesmith.data.read import read_rows
from tunesmith.data.rows import Conversation, texts_of
from tunesmith.engine.config_shape import shape_of
from tunesmith.engine.shape import ModelShape
from tunesmith.estimate.devices import Device
from tunesmith.estimate.fitting import Wish
from tunesmith.estimate.plan import DevicePlan, plan_devices
from tunesmith.models.catalog import find_entry
from tunesmith.models.config_file import known_configs, read_base_config
from tunesmith.runs.inputs import require_files, source_request
from tunesmith.training.length import ROWS_PER_STEP, choose_length
from tunesmith.training.steps import EARLIER_EPOCHS

DOCUMENT = 512  # tokens of the longest one, where no rows say it
MEAN_SHARE = 0.5  # of the longest one, that one of mean length has
SAMPLED = 500  # rows, whose tokens are counted or estimated
CHARACTERS = 4.0  # a token of ASCII text; other letters are counted as a token each
TEMPLATE_TOKENS = 6  # around each message
QUESTION = "what"  # what a template is tried with


@dataclass(frozen=True, slots=True)
class RowEstimate:
    """The rows of a config, from a sample: their number, tokens, the longest, the trained share."""

    rows: int
    tokens: int
    longest: int
    supervised: float
    source: str


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A base and what was asked of it, with the plan of every device; the first one is this
    machine where it was asked for.
    """

    model: str
    family: str
    parameters: int
    active_parameters: int
    context: int
    wish: Wish
    rows: RowEstimate | None
    devices: tuple[DevicePlan, ...]

    def to_json(self) -> dict[str, object]:
        """What `plan --json` prints, but the recommendation."""
        devices = [each.to_json() for each in self.devices]
        here = next((each for each in devices if each["device"] == "here"), None)
        return {
            "model": self.model,
            "family": self.family,
            "parameters": self.parameters,
            "active_parameters": self.active_parameters,
            "context": self.context,
            "asked": asdict(self.wish),
            "rows": None if self.rows is None else asdict(self.rows),
            "methods": here["methods"] if here else [],
            "devices": devices,
        }


@functools.cache
def known_shapes() -> Mapping[str, ModelShape]:
    """The shapes of published bases by name."""
    return {name: shape_of(config, name=name) for name, config in known_configs().items()}


def shape_named(model: str, *, trust_remote_code: bool = False) -> ModelShape:
    """The shape of a base by its name; of a GGUF file through transformers, which takes longer."""
    if model.lower().endswith(".gguf"):
        from tunesmith.models.load import config_of

        return shape_of(config_of(model, trust_remote_code=trust_remote_code).to_dict(), name=model)
    if model.lower() in known_shapes():
        return known_shapes()[model.lower()]
    return shape_of(read_base_config(model), name=model)


def plan_run(
    config: RunConfig,
    methods: Mapping[str, AnyMethod],
    devices: Sequence[Device],
    *,
    shape: ModelShape | None = None,
    document: int | None = None,
    ranks: int = 1,
) -> RunPlan:
    """The plan of a config's base, rows and settings; rows are read where it names some.

    ``document``: tokens of the longest one, in place of what the rows have. Raises what reading
    the base's config and the rows raises.
    """
    found = shape or shape_named(config.model, trust_remote_code=config.trust_remote_code)
    rows = None
    if config.data.train:
        require_files(config.data)
        rows = estimate_rows(config)
    wish = wish_of(config, rows, found, document=document, ranks=ranks)
    return RunPlan(
        model=config.model,
        family=found.family,
        parameters=found.parameters,
        active_parameters=found.active,
        context=found.context,
        wish=wish,
        rows=rows,
        devices=plan_devices(found, methods, devices, wish, known=known_shapes()),
    )


def wish_of(
    config: RunConfig,
    rows: RowEstimate | None,
    shape: ModelShape,
    *,
    document: int | None = None,
    ranks: int = 1,
) -> Wish:
    """What a config asks for, where its rows and `auto` leave it open as a run would choose it."""
    train, context = config.train, shape.context or DOCUMENT
    longest = document or (rows.longest if rows else min(DOCUMENT, context))
    if config.data.max_tokens is not None:
        longest = min(longest, config.data.max_tokens)
    mean = rows.tokens / rows.rows if rows and rows.rows else MEAN_SHARE * longest
    tokens = None
    if rows is not None:
        lengths = np.full(max(1, rows.rows), max(1, round(mean)), dtype=np.int64)
        has_held = config.data.holds_out
        kept = lengths[: max(1, round((1 - config.data.held_share) * len(lengths)))]
        train = choose_length(train, kept, method=config.method, has_held=has_held).settings
        epochs = EARLIER_EPOCHS if train.epochs in (None, AUTO) else float(train.epochs or 0)
        tokens = round(epochs * float(kept.sum()))
    of_step = _step_tokens(train.rows_per_step, train.tokens_per_step, mean)
    if tokens is not None:
        of_step = min(of_step, tokens)
    if train.steps is not None:
        tokens = train.steps * of_step
    if train.minutes is not None:
        tokens = None  # the time is given, not the tokens
    micro = train.tokens_per_micro_batch
    return Wish(
        document=longest,
        tokens_per_step=of_step,
        tokens=tokens,
        supervised=rows.supervised if rows else 0.5,
        micro_batch=None if micro == AUTO else int(micro),
        recompute=None if train.recompute == AUTO else train.recompute,
        dtype=None if config.dtype == AUTO else config.dtype,
        optimizer=train.optimizer,
        averages=train.may_average(has_held=config.data.holds_out),
        ranks=ranks,
        shard=None if train.shard == AUTO else bool(train.shard),
        retained=train.retention.share if train.retention else 0.0,
        work=train.work,
    )


def _step_tokens(rows: int | None, tokens: int | str | None, mean: float) -> int:
    """Tokens of a step."""
    if rows:
        return max(1, round(rows * mean))
    if isinstance(tokens, int):
        return tokens
    return max(1, round(ROWS_PER_STEP * mean))


def estimate_rows(config: RunConfig) -> RowEstimate:
    """The rows of a config's training files, of which the first are read and counted.

    By the base's own tokenizer where it is on this machine, else by letters.
    """
    count, source, inserted = _counter(config.model)
    number = tokens = trained = sampled = longest = 0
    for each in config.data.sources:
        _, _, outcomes = read_rows(source_request(config.data, each))
        sound = (outcome.value for outcome in outcomes if outcome.value is not None)
        first = list(islice(sound, SAMPLED))
        rows = [_tokens(row, count, inserted) for row in _kept(first, config)]
        own = sum(count for row in rows for count, _ in row)
        trained += sum(count for row in rows for count, is_trained in row if is_trained)
        longest = max(longest, *(sum(count for count, _ in row) for row in rows), 0)
        times = 1 + sum(1 for _ in sound) / max(1, len(first))
        sampled += own
        number += round(times * len(rows))
        tokens += round(times * own)
    return RowEstimate(
        rows=number,
        tokens=tokens,
        longest=longest or DOCUMENT,
        supervised=trained / sampled if sampled else 0.5,
        source=source,
    )


def _kept(rows: Sequence[Conversation], config: RunConfig) -> Sequence[Conversation]:
    """The rows that `data.drop` leaves, as far as these alone say it."""
    if not rows or not config.data.drop:
        return rows
    settings = config.data.model_copy(update={"eval": 0})
    long = np.empty(0, dtype=np.int64)
    found = analyze([rows], (), settings, seed=config.train.seed, long=long, seen=lambda: None)
    return [row for number, row in enumerate(rows) if number not in found.dropped]


Count = Callable[[str], int]


def _tokens(row: Conversation, count: Count, inserted: int) -> list[tuple[int, bool]]:
    """Tokens of each message, and whether it is trained; first those that the template inserts."""
    trained = set(row.supervised)
    own = [
        (sum(count(text) for text in texts_of(message)) + TEMPLATE_TOKENS, i in trained)
        for i, message in enumerate(row.messages)
    ]
    return own if row.is_text or row.messages[0].role == "system" else [(inserted, False), *own]


def _letters(text: str) -> int:
    """Tokens of a text, about, by its letters."""
    plain = sum(character.isascii() for character in text)
    return math.ceil(plain / CHARACTERS) + len(text) - plain


def _counter(model: str) -> tuple[Count, str, int]:
    """How tokens are counted for a base, in words too, and how many its template adds to a row that
    has no system message.
    """
    entry = find_entry(model)
    file = (entry.folder if entry else Path(model).expanduser()) / "tokenizer.json"
    if not file.is_file():
        return _letters, "by their letters, as the base's tokenizer is not here", 0
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    asked = _rendered(file.parent, QUESTION)
    more = count(asked) - count(QUESTION) - TEMPLATE_TOKENS if asked else 0
    return count, "by the base's tokenizer", max(0, more)


def _rendered(folder: Path, question: str) -> str:
    """A question as the template of a folder writes it, without transformers; "" where it cannot
    be written so.
    """
    path = folder / "chat_template.jinja"
    try:
        if path.is_file():
            template = path.read_text(encoding="utf-8")
        else:
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            template = config["chat_template"]
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        messages = [{"role": "user", "content": question}]
        return environment.from_string(template).render(messages=messages, bos_token="")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TemplateError):
        return ""
