"""What an evaluation rested on, and the one on disk that rests on the same: it need not be made
again. Loading this file imports no library of tensors.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.adapters.folder import read_origin
from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.load import merged
from tunesmith.core import remote
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.extras import version_of
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.names import known_folder
from tunesmith.runs.folder import RunFolder, read_lines
from tunesmith.runs.inputs import run_of

KEY, AGAINST, CHANGED_ROWS = "inputs_sha256", "against", "changed_rows"
PACKAGES = ("tunesmith", "torch", "transformers")  # whose versions may change an answer


class AnswerRows(Protocol):
    """What the arms answered and how it was scored, one object a question."""

    def rows(self) -> Iterator[dict[str, object]]:
        """As `answers.jsonl` has them."""


@dataclass(frozen=True, slots=True)
class EvaluatedTarget:
    """What was found; ``document`` is None where nothing was asked, ``folder`` without a place.

    ``config`` is what it was evaluated by.
    """

    target: str
    config: RunConfig
    document: Mapping[str, object] | None
    answers: AnswerRows | None
    folder: Path | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What must not be overlooked of the rows that were asked."""
        document = self.document or {}
        changed = document.get(CHANGED_ROWS)
        caveats: Any = document.get("caveats") or ()
        return (*(() if changed is None else (str(changed),)), *(c["text"] for c in caveats))

    def knows_against(self, earlier: str) -> bool:
        """Whether it has the comparison with an earlier run, as that is now."""
        part = (self.document or {}).get(AGAINST)
        if not isinstance(part, Mapping) or part["run"] != earlier or part[KEY] is None:
            return False
        return bool(part[KEY] == self.against_sha256(earlier))

    def against_sha256(self, earlier: str) -> str | None:
        """SHA-256 over what the comparison rests on; None where that is not known."""
        run, own = run_of(earlier), (self.document or {}).get(KEY)
        if run is None or own is None:
            return None
        other = inputs_sha256(asked_as(self.config, run.read_config()), run)
        return None if other is None else hashlib.sha256(f"{own} {other}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """The answers in a file."""

    file: Path

    def rows(self) -> Iterator[dict[str, object]]:
        """A question each."""
        return read_lines(self.file)


def known_evaluation(
    target: str, overrides: Mapping[str, object], *, data: str | None, out: Path | None
) -> EvaluatedTarget | None:
    """The evaluation of a run that asking again would give: nothing that it rests on has changed.

    None for what is no run, for one that was not evaluated so, and where that is not known.
    """
    run = run_of(target)
    place = RunFolder(out) if out is not None else run
    if run is None or place is None:
        return None
    held = {"data": {"eval": data, "validation": 0.0}} if data is not None else {}
    try:
        document = json.loads(place.evaluation.read_text(encoding="utf-8"))
        config = run.read_config(merged(overrides, held))
        inputs = inputs_sha256(config, run)
    except (OSError, ValueError, TunesmithError):
        return None
    if inputs is None or document.get(KEY) != inputs or not place.answers.is_file():
        return None
    return EvaluatedTarget(target, config, document, StoredAnswers(place.answers), place.path)


# What the comparison with an earlier run needs no answer to.
ASKED_ONLY: dict[str, object] = {
    **dict.fromkeys(("forgetting", "consistency", "knowledge", "baseline_prompt")),
    "num_fewshot": 0,
    "timed_rows": 0,
    "arms": {},
}
OWN = ("system", "template_options")  # of its data's settings: the prompts that it was trained on


def asked_as(config: RunConfig, earlier: RunConfig) -> RunConfig:
    """An earlier run's config with the rows, checks and seed of another, and its own prompts."""
    own = {name: getattr(earlier.data, name) for name in OWN}
    return earlier.model_copy(
        update={
            "data": config.data.model_copy(update=own),
            "evaluate": config.evaluate.model_copy(update=ASKED_ONLY),
            "train": earlier.train.model_copy(update={"seed": config.train.seed}),
        }
    )


def require_earlier(name: str) -> RunFolder:
    """The run to compare with; raises RunError for what is none, or has no result."""
    run = run_of(name)
    if run is None:
        raise RunError(f"{name} is not a run.", remedy="Name a run's folder: runs/NAME.")
    run.require_trained()
    return run


def inputs_sha256(config: RunConfig, run: RunFolder) -> str | None:
    """SHA-256 over settings, data, base, result and versions; None where one of them is not here.

    Files count by their contents, so that a copy of the folder, or of the data, is the same.
    """
    trained = run.trained
    base = None if trained is None else _base(config.model, trained)
    if trained is None or base is None:
        return None
    settings = config.model_dump(mode="json", exclude={"model", "out", "goal", "mirror"})
    try:
        in_places = _sha256_of_places(config.data)
        parts = {
            "settings": _by_content(settings),
            "base": hash_folder(base)[COMBINED],
            "result": {path.name: file_sha256(path) for path in _weights(trained)},
            "versions": [version_of(name) or "" for name in PACKAGES],
            **({"remote": in_places} if in_places else {}),
        }
    except (OSError, TunesmithError):
        return None
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def inputs_of(run: RunFolder) -> str | None:
    """The same of a run by its own config."""
    return inputs_sha256(run.read_config(), run)


def _sha256_of_places(data: DataSettings) -> list[str]:
    """SHA-256 of the rows in folders and in object storage, where no setting is a file's name.

    Raises StorageError where that is closed.
    """
    sources = [*data.sources, *([data.held] if data.held else [])]
    places = [
        remote.copied(each.path) if remote.is_remote(each.path) else Path(each.path)
        for each in sources
        if remote.is_remote(each.path) or Path(each.path).is_dir()
    ]
    files = [path for place in places for path in sorted([place, *place.rglob("*")])]
    return [file_sha256(path) for path in files if path.is_file()]


def _base(model: str, trained: Path) -> Path | None:
    """The folder that is named, else where the base of that result was last used."""
    named = Path(model).expanduser()
    if (named / "config.json").is_file():
        return named
    origin = read_origin(trained)
    return known_folder(origin.sha256) if origin is not None else None


def _weights(trained: Path) -> list[Path]:
    return sorted(path for path in trained.glob("*.safetensors") if path.is_file())


def _by_content(values: object) -> object:
    """Settings with the SHA-256 of each file that they name: data, instructions, rubrics."""
    if isinstance(values, Mapping):
        return {key: _by_content(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_by_content(value) for value in values]
    if isinstance(values, str):
        try:
            path = Path(values).expanduser()
            return file_sha256(path) if path.is_file() else values
        except (OSError, ValueError, RuntimeError):  # a text, and no name of a file
            return values
    return values
