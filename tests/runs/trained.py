"""A trained folder that many tests begin with: made once, and a copy of it for each."""

import shutil
from pathlib import Path


def copy_of(folder: Path, into: Path) -> Path:
    """A copy of a folder with a base, rows and runs, whose files name it and not the first."""
    shutil.copytree(folder, into, dirs_exist_ok=True)
    for path in into.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml", ".html", ".md", ".log"):
            text = path.read_bytes()
            if str(folder).encode() in text:
                path.write_bytes(text.replace(str(folder).encode(), str(into).encode()))
    return into
