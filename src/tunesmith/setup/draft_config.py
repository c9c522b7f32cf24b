"""A commented config for a data file, as `tunesmith init` writes it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunesmith.config.checks import CheckSettings
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.run import DataSettings, RunConfig, TrainSettings
from tunesmith.config.settings import nested_models
from tunesmith.core.errors import ConfigError
from tunesmith.core.files import replace_text
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import Fault, Faults, refuse
from tunesmith.data.read import ReadResult, scan
from tunesmith.data.records import options_of
from tunesmith.data.rows import Conversation
from tunesmith.models.catalog import find_entry
from tunesmith.runs.inspect_data import open_tokenizer
from tunesmith.runs.language_fit import language_notes, unpublished_language
from tunesmith.setup.proposals import Proposal, propose_checks

COLUMN, WIDTH = 34, 92
MAX_ROWS = 20_000  # that checks are proposed by
# What is changed most often for a first run; every other key is listed as a comment.
ACTIVE = {"model", "train", "eval", "format", "kind", "rank", "alpha", "lr"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A config's text, and what it was drawn from."""

    text: str
    format: str
    rows: int
    proposals: tuple[Proposal, ...]
    faults: tuple[Fault, ...]
    unread: str = ""
    """That the default base hardly reads the language of the rows, and which bases do."""


def draft_config(settings: DataSettings) -> Draft:
    """The config for this data; raises FaultyData where no row of it can be read."""
    (source,) = settings.sources
    reading = scan(
        source.path,
        format=settings.format,
        columns=settings.map,
        options=options_of(settings, source),
        limit=MAX_ROWS,
    )
    if not reading.conversations:
        refuse(Faults(reading.faults, reading.unlisted))
    assert reading.format is not None
    proposals = tuple(propose_checks(reading.conversations))
    given = settings.model_dump(exclude_unset=True) | {"format": reading.format}
    unread = _unread(reading.conversations)
    lines = _lines(given, reading, proposals, unread)
    text = "\n".join(lines) + "\n"
    return Draft(text, reading.format, reading.rows, proposals, reading.faults, unread)


def _unread(rows: Sequence[Conversation]) -> str:
    """What there is to say of the rows' language and the default base, which is not fetched here.

    Its tokens are counted where it is in the cache.
    """
    model = str(_default(RunConfig.model_fields["model"]))
    entry = find_entry(model)
    if entry is None or not entry.cached:
        return unpublished_language(rows, model)
    notes = language_notes(rows, model, open_tokenizer(model).tokenizer)
    return notes[0].message if notes else ""


def write_draft(draft: Draft, out: Path) -> None:
    """Write the config to ``out``; raises ConfigError where something lies there already."""
    if out.exists():
        raise ConfigError(
            f"{out}: exists already, and is not overwritten.",
            remedy="Name another file with --out, or remove this one.",
            code="exists",
        )
    replace_text(out, draft.text)


def _lines(
    data: Mapping[str, object], reading: ReadResult, proposals: Sequence[Proposal], unread: str
) -> Iterator[str]:
    yield f"# Drawn from {reading.file}: {pluralize(reading.rows, 'row')}, format {reading.format}."
    if len(reading.conversations) == MAX_ROWS:
        yield f"# Checks are proposed by the first {pluralize(MAX_ROWS, 'row')}."
    yield "# A key after `#` has its default value. Any key can also be given"
    yield "# as a flag: tunesmith train CONFIG --train.epochs 2"
    yield ""
    for line in _section(RunConfig, {}, indent=""):
        if line.startswith("model:") and unread:
            yield from (f"# {each}" for each in textwrap.wrap(_sentence(unread), WIDTH))
        yield line
    yield "\ndata:"
    yield from _section(DataSettings, data, indent="  ")
    yield "\nmethod:  # `tunesmith methods` shows the others"
    method = _default(RunConfig.model_fields["method"])
    yield from _section(type(method), {}, indent="  ")
    yield "\ntrain:"
    yield from _section(TrainSettings, {}, indent="  ")
    yield "\nevaluate:"
    yield from _checks(proposals)
    yield from _section(EvaluateSettings, {}, indent="  ")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _checks(proposals: Sequence[Proposal]) -> Iterator[str]:
    if not proposals:
        kinds = ", ".join(
            each.model_fields["kind"].default for each in nested_models(CheckSettings)
        )
        hint = (
            "Nothing in the answers suggests a rule; for example: checks: [{kind: regex, pattern: "
            f"'^Yes|^No'}}]. Kinds: {kinds}; docs/checks.md has them all."
        )
        for line in textwrap.wrap(hint, WIDTH):
            yield f"  # {line}"
        yield "  checks: []"
        return
    yield f"  checks:  # {EvaluateSettings.model_fields['checks'].description}"
    for proposal in proposals:
        yield f"    # {proposal.reason}"
        yield f"    - {_value(dict(proposal.check))}"


def _section(model: type[BaseModel], given: Mapping[str, object], *, indent: str) -> Iterator[str]:
    """A line for each plain key: set where it was given or is often changed, else a comment."""
    for name, field in model.model_fields.items():
        if name in ("checks", "data", "method", "train", "evaluate") and name not in given:
            continue  # a section of its own
        value = given.get(name, _default(field))
        is_set = name in given or name in ACTIVE
        line = f"{indent}{'' if is_set else '# '}{name}: {_value(value)}"
        yield f"{line:<{COLUMN}} # {field.description}" if field.description else line


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _value(value: object) -> str:
    """A value as YAML writes it inside a line."""
    plain = list(value) if isinstance(value, tuple) else value
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else plain
    text = yaml.safe_dump(
        plain, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
