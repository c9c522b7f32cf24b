"""What a source's tokens depend on, as one key: its bytes, how it is read, the tokeniser, us."""

import functools
import hashlib
import json
import pickle
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tunesmith.data.read import Asked, Layout
from tunesmith.data.records import files_of
from tunesmith.data.tokenise import Recipe
from tunesmith.data.tokenizer import Tokenizer

_AT_ONCE = 1 << 20
_PACKAGES = (
    *("transformers", "tokenizers", "jinja2", "pyarrow"),
    *("charset-normalizer", "python-calamine"),
)
TEXT = "text"  # the format whose documents are cut where they are made


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a source: their SHA-256, how many, and their lines (None: it is no text)."""

    sha256: str
    size: int
    lines: int | None


def content_of(asked: Asked) -> Content | None:
    """What a file, or all data files of a folder, hold now, every byte read.

    None for what is no file. Raises OSError.
    """
    root = Path(asked.file)
    files = files_of(asked.file, asked.options)
    if not files or not all(file.is_file() for file in files):
        return None
    digest, size, lines, is_text = hashlib.sha256(), 0, 0, True
    if root.is_dir():  # what else lies there is told
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        digest.update("\0".join(names).encode(errors="surrogateescape"))
    for path in files:
        digest.update(f"\0{path.stat().st_size}\0".encode())  # where one ends and the next begins
        last = b"\n"
        with path.open("rb") as file:
            while data := file.read(_AT_ONCE):
                is_text = is_text and (size > 0 or b"\0" not in data)
                digest.update(data)
                size += len(data)
                lines += data.count(b"\n")
                last = data[-1:]
        lines += last != b"\n"
    one_text = is_text and not root.is_dir()
    return Content(digest.hexdigest(), size, lines if one_text else None)


def key_of(content: Content, asked: Asked, layout: Layout, recipe: Recipe) -> str:
    """The same for the same rows of tokens. The source's name does not count, its kind does."""
    templates = str(getattr(recipe.tokenizer, "chat_template", None))
    return combined(
        {
            "content": content.sha256,
            "kind": Path(asked.file).suffixes[-2:],
            "asked": {**asdict(asked), "file": ""},
            "format": layout.format,
            "rendering": asdict(recipe.rendering),
            "max_tokens": recipe.max_tokens if layout.format == TEXT else None,
            "tokenizer": tokenizer_digest(recipe.tokenizer),
            "code": code_digest(),
            "packages": {name: version(name) for name in _PACKAGES},
            "day": time.strftime("%Y-%m-%d") if "strftime_now" in templates else None,
        }
    )


def combined(parts: Mapping[str, object]) -> str:
    """One key for values that JSON can say."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """A key for all that a tokeniser makes of a conversation, its chat template included."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    made = pickle.dumps(tokenizer) if backend is None else backend.to_str().encode()
    templates = getattr(tokenizer, "chat_template", None)
    words = json.dumps([templates, dict(tokenizer.special_tokens_map)], sort_keys=True, default=str)
    return _digest((type(tokenizer).__qualname__.encode(), made, words.encode()))


@functools.cache
def code_digest() -> str:
    """A key for the code that makes rows of files: this package as it is installed."""
    here = Path(__file__).parent
    sources = sorted(here.rglob("*.py"))
    return _digest(part for path in sources for part in (path.name.encode(), path.read_bytes()))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
