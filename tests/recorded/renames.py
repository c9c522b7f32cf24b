"""Which differences are meant: the renames that `renames.yaml` lists."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

LAST_DIGITS = 1e-12
FILE = Path(__file__).with_name("renames.yaml")


@dataclass(frozen=True, slots=True)
class Renames:
    """Old name -> new name of keys, parts of texts and words; paths that are not compared."""

    keys: Mapping[str, str]
    texts: Mapping[str, str]
    words: Mapping[str, str]
    ignored: Mapping[str, str]
    rounded: Mapping[str, str] = field(default_factory=dict)

    def of_words(self, words: Sequence[object]) -> list[str]:
        """A command line as it is written now."""
        return [self.words.get(str(word), str(word)) for word in words]

    def of(self, value: object, document: str, *, path: str = "") -> object:
        """A recorded value as it should be now."""
        if isinstance(value, Mapping):
            return {
                self._key(document, path, key): self.of(item, document, path=_joined(path, key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.of(item, document, path=path) for item in value]
        if isinstance(value, str):
            for old, new in self.texts.items():
                value = value.replace(old, new)
        return value

    def ignores(self, document: str, path: str) -> bool:
        """Whether a difference at this path is meant."""
        return any(fnmatchcase(f"{document}:{path}", pattern) for pattern in self.ignored)

    def rounds(self, document: str, path: str, recorded: object, now: object) -> bool:
        """Whether both are one number but for its last digits, where that is meant."""
        if not any(fnmatchcase(f"{document}:{path}", pattern) for pattern in self.rounded):
            return False
        both = isinstance(recorded, float) and isinstance(now, float)
        return both and math.isclose(recorded, now, rel_tol=LAST_DIGITS, abs_tol=LAST_DIGITS)

    def _key(self, document: str, path: str, key: str) -> str:
        whole = f"{document}:{_joined(path, key)}"
        found = (new for old, new in self.keys.items() if ":" in old and fnmatchcase(whole, old))
        return next(found, self.keys.get(key, key))


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def read_renames(file: Path = FILE) -> Renames:
    """The renames that are listed."""
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Renames(
        **{name: values.get(name) or {} for name in (each.name for each in fields(Renames))}
    )
