"""A commented config for a data file, as `tunesmith init` writes it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunesmith.config.checks import CheckSettings
from tunesmith.config.evaluate import EvaluateSettings
from tunesmith.config.run import DataSettings, RunConfig, TrainSettings
from tunesmith.config.settings import nested_models
from tunesmith.core.files import replace_text
from tunesmith.core.numbers import pluralize
from tunesmith.data.chat_format import inserted_system_prompt, study
from tunesmith.data.faults import Fault, Faults, refuse
from tunesmith.data.formats.columns import PLAIN_TEXT
from tunesmith.data.read import DROPPED_EMPTY, ReadResult, scan_source
from tunesmith.data.rows import Conversation
from tunesmith.data.template import unfit
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.runs.enough import few_of_rows
from tunesmith.runs.inputs import require_new, source_request
from tunesmith.runs.language_fit import language_notes, unpublished_language
from tunesmith.setup.proposal import Proposal
from tunesmith.setup.proposals import Proposals, propose

COLUMN, WIDTH = 34, 92
MAX_ROWS = 20_000  # that checks are proposed by
SUGGESTED = "suggested by the answers: edit it and take the `# ` away; "
# What is changed most often for a first run; every other key is listed as a comment.
ACTIVE = {"model", "train", "eval", "format", "kind", "lr"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A config's text, and what it was drawn from.

    ``system`` is the system prompt that is proposed in a comment; ``notes`` are worth knowing
    before a run; ``unread`` is that the default base hardly reads the rows' language, and which
    bases do.
    """

    text: str
    format: str
    rows: int
    proposals: tuple[Proposal, ...]
    faults: tuple[Fault, ...]
    system: str | None = None
    notes: tuple[str, ...] = ()
    unread: str = ""


def draft_config(settings: DataSettings, *, tokenizer: Tokenizer | None = None) -> Draft:
    """The config for this data; raises FaultyData where no row of it can be read.

    With the base's ``tokenizer`` the draft also knows its own system prompt, what its chat template
    leaves out of the rows, and counts steps.
    """
    (source,) = settings.sources
    asked = replace(source_request(settings, source), system=None)
    reading = scan_source(asked, limit=MAX_ROWS)
    if not reading.conversations:
        refuse(Faults(reading.faults, reading.unlisted))
    assert reading.format is not None
    is_text = reading.format == PLAIN_TEXT.name  # of which nothing is asked
    has_template = not is_text and getattr(tokenizer, "chat_template", None)
    inserted, faults = None, reading.faults
    if tokenizer and has_template:
        inserted = inserted_system_prompt(tokenizer)
        faults += tuple(_unfit(reading.conversations, tokenizer, settings))
    found = propose(reading.conversations, system=settings.system, inserted=inserted)
    given = settings.model_dump(exclude_unset=True) | {"format": reading.format}
    unread = _unread(reading.conversations, tokenizer)
    text = "\n".join(_lines(given, reading, found, inserted, unread)) + "\n"
    left_out = [
        f"{note.message} ({pluralize(note.count, 'row')})"
        for note in reading.notes
        if note.code == DROPPED_EMPTY.code
    ]
    held = 0 if is_text else round(settings.held_share * len(reading.conversations))
    few = few_of_rows(
        RunConfig(data=settings), reading.conversations[held:], held, tokenizer=tokenizer
    )
    return Draft(
        text,
        reading.format,
        reading.rows,
        found.checks,
        faults,
        found.system,
        (*left_out, *found.remarks, *(note.message for note in few)),
        unread,
    )


def _unfit(
    rows: Sequence[Conversation], tokenizer: Tokenizer, settings: DataSettings
) -> Iterator[Fault]:
    """What the base's chat template leaves out of the rows, and what it would take for marks."""
    chat_format, is_checked = study(tokenizer), settings.control_tokens != "text"
    for row in rows:
        for fault in unfit(row, chat_format, control_tokens=is_checked):
            yield fault.at(row.file, row.line)


def _unread(rows: Sequence[Conversation], tokenizer: Tokenizer | None) -> str:
    """What there is to say of the rows' language and the default base, which is not fetched here.

    Its tokens are counted where its ``tokenizer`` is here.
    """
    model = str(_default(RunConfig.model_fields["model"]))
    if tokenizer is None:
        return unpublished_language(rows, model)
    notes = language_notes(rows, model, tokenizer)
    return notes[0].message if notes else ""


def _template_lines(inserted: str | None) -> Iterator[str]:
    """What is said above the key `system`."""
    if inserted:
        for line in textwrap.wrap(f"Without one the base's template writes: {inserted}", WIDTH):
            yield f"  # {line}"


def write_draft(draft: Draft, out: Path) -> None:
    """Write the config to ``out``; raises ConfigError where something lies there already."""
    require_new(out)
    replace_text(out, draft.text)


def _lines(
    data: Mapping[str, object],
    reading: ReadResult,
    proposals: Proposals,
    inserted: str | None,
    unread: str,
) -> Iterator[str]:
    yield f"# Drawn from {reading.file}: {pluralize(reading.rows, 'row')}, format {reading.format}."
    if len(reading.conversations) == MAX_ROWS:
        yield f"# Checks are proposed by the first {pluralize(MAX_ROWS, 'row')}."
    yield "# A key after `#` has its default value. Any key can also be given"
    yield "# as a flag: tunesmith train CONFIG --train.epochs 2"
    yield ""
    warned = [f"# {line}" for line in textwrap.wrap(_sentence(unread), WIDTH)]
    yield from _section(RunConfig, {}, indent="", above={"model": warned})
    yield "\ndata:"
    above = {"system": tuple(_template_lines(inserted))}
    suggested = {"system": proposals.system} if proposals.system else {}
    yield from _section(DataSettings, data, indent="  ", above=above, suggested=suggested)
    yield "\nmethod:  # `tunesmith methods` shows the others"
    method = _default(RunConfig.model_fields["method"])
    yield from _section(type(method), {}, indent="  ")
    yield "\ntrain:"
    yield from _section(TrainSettings, {}, indent="  ")
    yield "\nevaluate:"
    yield from _checks(proposals.checks)
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
        yield f"    # {proposal.remark}"
        yield f"    - {_value(dict(proposal.check))}"


def _section(
    model: type[BaseModel],
    given: Mapping[str, object],
    *,
    indent: str,
    above: Mapping[str, Sequence[str]] = MappingProxyType({}),
    suggested: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[str]:
    """A line for each plain key: set where it was given or is often changed, else a comment.

    ``above``: lines before a key's own; ``suggested``: values that are comments until the user
    takes them.
    """
    for name, field in model.model_fields.items():
        if name in ("checks", "data", "method", "train", "evaluate") and name not in given:
            continue  # a section of its own
        yield from above.get(name, ())
        value = given.get(name, suggested.get(name, _default(field)))
        is_set = name in given or name in ACTIVE
        line = f"{indent}{'' if is_set else '# '}{name}: {_value(value)}"
        help_text = f"{SUGGESTED * (name in suggested)}{field.description or ''}"
        yield f"{line:<{COLUMN}} # {help_text}" if help_text else line


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
