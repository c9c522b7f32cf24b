"""An adapter for others: its files, card and report; and what must not leave this machine.

Everything that goes is known before anything does. What a check of the data found in the rows, or
what is in the texts that go, stops it until it is allowed by name.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import ModelCard

from tunesmith.adapters.fit import Mismatch, of_files, require
from tunesmith.adapters.folder import (
    CARD,
    CONFIG,
    FILE,
    NOTE_HASHES,
    is_note,
    read_own,
    recordable,
)
from tunesmith.core.errors import AdapterError
from tunesmith.core.files import sha256_of
from tunesmith.core.numbers import pluralize
from tunesmith.data.quality.unsuitable import find_personal_data, masked
from tunesmith.exports.places import Contents, Place, PushSettings
from tunesmith.models.cache import cache_root
from tunesmith.runs.card_results import PERSONAL_DATA, personal_data, with_report_section
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.history import Records, read_records
from tunesmith.runs.locate import RUNS, find_adapter

SECRETS = "secrets"
STOPPING = (PERSONAL_DATA, SECRETS)  # codes of what must be allowed by name
KEYS = "keys or tokens"  # the kind of personal data that is none


@dataclass(frozen=True, slots=True)
class PushFinding:
    """What is worth knowing before a push; one that ``stops`` must be allowed by its code."""

    code: str
    message: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class PushPlan:
    """All that would go to a place: each file's content, the card's text, and findings."""

    source: Path
    place: Place
    settings: PushSettings
    contents: Contents
    card: str
    findings: tuple[PushFinding, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.contents.items()
        }

    @property
    def sha256(self) -> str:
        """Of `tunesmith.json`, which has the SHA-256 of the others."""
        content = self.contents[FILE]
        assert isinstance(content, bytes)
        return hashlib.sha256(content).hexdigest()

    @property
    def stopping(self) -> Sequence[PushFinding]:
        """The findings that were not allowed."""
        return [each for each in self.findings if each.stops]

    def to_json(self) -> dict[str, object]:
        """What `adapters push --json` prints of it."""
        return {
            "adapter": str(self.source),
            "repo": self.place.name,
            "kind": self.place.kind,
            "private": not self.settings.public if self.place.kind == "hub" else None,
            "files": [{"name": name, "bytes": size} for name, size in self.sizes.items()],
            "bytes": sum(self.sizes.values()),
            "sha256": self.sha256,
            "findings": [asdict(each) for each in self.findings],
            "card": self.card,
        }


def result_of(name: str, root: Path = RUNS) -> tuple[Path, RunFolder | None]:
    """The folder of a run's result, or of an adapter from elsewhere, and the run that it is of.

    Raises RunError for a run without a result, AdapterError for what is neither.
    """
    for place in (Path(name).expanduser(), root / name):
        folder = place.parent if place.name in ("adapter", "model") else place
        if (folder / "config.yaml").is_file():
            return RunFolder(folder).require_trained(), RunFolder(folder)
    found = find_adapter(name, root)
    assert found.adapter is not None
    return found.adapter, None


def plan_push(
    folder: Path,
    run: RunFolder | None,
    place: Place,
    *,
    settings: PushSettings,
    allow: Collection[str] = (),
    report: bool = True,
) -> PushPlan:
    """What of the result in ``folder`` would go to ``place``; nothing leaves.

    Raises AdapterError where its files are not as they were written, or its card is not valid.
    """
    changed: Sequence[Mismatch] = of_files(folder, fresh=True)
    require(folder, changed)
    records = None if run is None else read_records(run.path)
    page = _page(run) if run is not None and report else None
    card = _card(folder, has_page=page is not None)
    _require_valid(card, folder)
    contents: dict[str, Path | bytes] = {path.name: path for path in recordable(folder)}
    if page is not None and records is not None:
        contents[REPORT] = _without_places(page, records).encode()
    contents |= {path.name: path for path in folder.iterdir() if is_note(path.name)}
    contents[CARD] = card.encode()
    contents[FILE] = _record(folder, contents)
    findings = [*_found_in_data(records), *_found_in_texts(contents, records, page=page)]
    return PushPlan(
        folder,
        place,
        settings,
        contents,
        card,
        tuple(_allowed(findings, allow)) + tuple(_remarks(records, card, page=page)),
    )


def push(plan: PushPlan) -> str:
    """Put it there; where it can be seen comes back. Raises AdapterError where a finding stops."""
    if stopping := plan.stopping:
        codes = dict.fromkeys(each.code for each in stopping)
        raise AdapterError(
            f"Nothing was pushed: {'; '.join(each.message for each in stopping)}.",
            remedy="Take them out of the rows and train again (`--data.drop personal_data`). Where "
            f"all who can see {plan.place.name} may have them: "
            f"{' '.join(f'--allow {code}' for code in codes)}",
            code="findings",
        )
    return plan.place.push(plan.contents, plan.settings)


def _page(run: RunFolder) -> str | None:
    """The run's page, where it has one."""
    file = run.path / REPORT
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _card(folder: Path, *, has_page: bool) -> str:
    """The card as it is in the folder, with a line on the report that goes with it."""
    file = folder / CARD
    text = file.read_text(encoding="utf-8") if file.is_file() else f"# {folder.resolve().name}\n"
    return with_report_section(text) if has_page else text


def _require_valid(card: str, folder: Path) -> None:
    """Raise AdapterError where huggingface_hub would not read the card's head."""
    try:
        ModelCard(card)
    except Exception as error:  # of YAML, or one of several of the hub's own
        reason = " ".join(str(error).split()).rstrip(".")
        raise AdapterError(
            f"{folder / CARD}: its head is not valid: {reason}.",
            remedy="Correct it, or let `tunesmith evaluate RUN` write the card again.",
        ) from None


def _record(folder: Path, contents: Contents) -> bytes:
    """`tunesmith.json` with the SHA-256 of every other file that goes.

    Those of notes for people are a part of their own, as these may be changed later.
    """
    recorded: dict[str, dict[str, str]] = {"files": {}, NOTE_HASHES: {}}
    for name, content in sorted(contents.items()):
        if isinstance(content, bytes):
            digest = hashlib.sha256(content).hexdigest()
        else:
            digest = sha256_of(content)
        recorded[NOTE_HASHES if is_note(name) else "files"][name] = digest
    own = {**read_own(folder), **recorded}
    return (json.dumps(own, indent=2, ensure_ascii=False) + "\n").encode()


def _without_places(page: str, records: Records) -> str:
    """The page without folders of this machine: what lies in them is named alone."""
    base = (records.environment.get("base") or {}).get("folder")
    named = (records.config.get("model"), records.config.get("out"), base)
    given = [*named, *(records.environment.get("data") or {})]
    folders = {
        str(Path(str(each)).parent) for each in given if each and Path(str(each)).is_absolute()
    }
    here = (Path.cwd(), records.path.resolve().parent, Path.home(), cache_root())
    roots = sorted({*folders, *map(str, here)} - {"/"}, key=len, reverse=True)
    pattern = "|".join(f"{re.escape(root)}[/\\\\]?" for root in roots)
    return re.sub(rf"(?<![\w.])(?:{pattern})", "", page)


def _found_in_data(records: Records | None) -> Iterator[PushFinding]:
    """What the check of the data found in the rows that were trained on."""
    for text in personal_data(records) if records is not None else ():
        code = SECRETS if text.startswith(KEYS) else PERSONAL_DATA
        yield PushFinding(code, f"the rows that it was trained on: {text}", stops=True)


def _found_in_texts(
    contents: Contents, records: Records | None, *, page: str | None
) -> Iterator[PushFinding]:
    """The same of texts that go: the card, its own files, and what the page shows."""
    own = json.loads(_text(contents[FILE]))
    texts: dict[str, object] = {
        **{name: _text(contents[name]) for name in (CARD, CONFIG) if name in contents},
        FILE: [own.get("system"), own.get("template_options"), own.get("base")],
    }
    if page is not None and records is not None:  # the page itself is full of drawings' digits
        texts[REPORT] = [records.config_text, *records.answers, *records.notices]
    for name, shown in texts.items():
        found: dict[str, str] = {}
        for text in _strings(shown):
            found = {**dict(find_personal_data(text)), **found}
        for kind, first in found.items():
            code = SECRETS if kind == KEYS else PERSONAL_DATA
            yield PushFinding(code, f"{name}: {kind}, such as {masked(first)}", stops=True)


def _text(content: Path | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")


def _strings(values: object) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from (text for value in values.values() for text in _strings(value))
    elif isinstance(values, list | tuple):
        yield from (text for value in values for text in _strings(value))


def _allowed(findings: Sequence[PushFinding], allow: Collection[str]) -> Iterator[PushFinding]:
    """The findings; those of an allowed code stop nothing."""
    for each in dict.fromkeys(findings):
        yield PushFinding(each.code, each.message, stops=each.code not in allow)


def _remarks(records: Records | None, card: str, *, page: str | None) -> Iterator[PushFinding]:
    """What stops nothing, and whoever pushes may want to know."""
    if records is None:
        yield PushFinding("no_run", "it is in no run: data, settings and scores are not known")
        return
    answer = (records.evaluation.get("verdict") or {}).get("answer")
    if answer is None:
        yield PushFinding("verdict", "it was not evaluated: the card says so")
    elif answer != "yes":
        said = {"no": "it did not work"}.get(str(answer), "whether it works is not clear")
        yield PushFinding("verdict", f"by its evaluation, {said}")
    licences = records.environment.get("licences") or {}
    if unstated := [Path(path).name for path, licence in licences.items() if not licence]:
        yield PushFinding("licence", f"no licence is stated for {', '.join(unstated)}")
    if page is not None and records.answers:
        rows = pluralize(len(records.answers), "held-out row")
        yield PushFinding(
            "rows", f"{REPORT} shows {rows} and their answers; --no-report leaves it out"
        )
    if "base_model:" not in card:
        yield PushFinding("base", "its base has no hub id: others need the same base from you")
