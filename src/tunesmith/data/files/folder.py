"""Which files of a folder hold the rows."""

import os
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tunesmith.counts import many
from tunesmith.data.faults import Remark
from tunesmith.data.files.source import PACKED, Broken

PROSE = (".txt", ".md")
# What others put beside rows.
ABOUT_A_FOLDER = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "UPSTREAM_LICENSE")
NO_ROWS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
NO_ROWS |= {"package.json", "config.json", "metadata.json"}
SAME = {".ndjson": ".jsonl", ".md": ".txt", ".tab": ".tsv"}
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("valid", "validation", "validate", "val", "dev", "eval"), "validation")


@dataclass(frozen=True, slots=True)
class Files:
    """The data files of a folder, sorted, and what lies beside them and is not read."""

    data: tuple[Path, ...]
    others: tuple[Path, ...]

    def told(self) -> Remark:
        """What was read, and what was not."""
        text = f"read {many(len(self.data), 'file')}: {_names(self.data)}"
        if self.others:
            text += f"; left out {many(len(self.others), 'other')}: {_names(self.others)}"
        return Remark("folder", text)


def _names(files: Sequence[Path]) -> str:
    return ", ".join(path.name for path in files[:3]) + ", ..." * (len(files) > 3)


def data_files(folder: Path, *, suffixes: Collection[str], part: str | None) -> Files:
    """The data files under ``folder``; raises Broken where there is none or a choice.

    Texts count only where there is nothing else: beside rows they are a README or a licence.
    """
    everything = sorted(_walk(folder))
    found = [path for path in everything if kind_of_name(path) in suffixes]
    rows = [path for path in found if kind_of_name(path) not in PROSE]
    texts = [path for path in found if not path.name.upper().startswith(ABOUT_A_FOLDER)]
    files = _of_part(folder, rows or texts or found, part)
    if wrong := [path for path in files if not _is_text(path.name)]:
        what = f"the name of a file in it is not UTF-8: {wrong[0].name!r}."
        raise Broken("file_name", what, "Rename it.")
    if not files:
        known = ", ".join(suffixes)
        what = f"is a folder without data files (known kinds: {known})."
        raise Broken("no_files", what, "Name the folder or the file that holds the rows.")
    kinds = Counter(SAME.get(kind_of_name(path), kind_of_name(path)) for path in files)
    if len(kinds) > 1:
        shown = ", ".join(f"{many(count, 'file')} {kind}" for kind, count in kinds.items())
        what = f"is a folder with several kinds of data files: {shown}."
        raise Broken("several_kinds", what, _several(files))
    read = set(files)
    return Files(tuple(files), tuple(path for path in everything if path not in read))


def _several(files: Sequence[Path]) -> str:
    """How files of several kinds are read together, or apart."""
    firsts = {SAME.get(kind_of_name(path), kind_of_name(path)): path for path in reversed(files)}
    names = [shlex.quote(str(path)) for path in reversed(firsts.values())]
    listed = shlex.quote(f"[{', '.join(str(path) for path in reversed(firsts.values()))}]")
    return (
        f"Name the files: `tunesmith data check {' '.join(names)}`, and to train --data {listed}; "
        "or put those to read in a folder."
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of_name(path: Path) -> str:
    """The suffix of what is inside, by the file's name."""
    name = path.name.lower()
    for _, packed, _ in PACKED:
        name = name.removesuffix(packed)
    return PurePosixPath(name).suffix


def _walk(folder: Path) -> list[Path]:
    files = []
    for above, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        files += [Path(above) / n for n in names if not n.startswith(".") and n not in NO_ROWS]
    return [path for path in files if path.is_file()]


def _refuse(error: OSError) -> NoReturn:
    what = f"holds a folder that cannot be read: {error.filename}: {error.strerror}."
    raise Broken("unreadable", what, "Give yourself the right to read it, or take it out.")


def _of_part(folder: Path, files: Sequence[Path], part: str | None) -> list[Path]:
    """The files of one split: rows to test on must not be trained on unseen."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split(path.relative_to(folder)), []).append(path)
    named = [name for name in splits if name]
    if part is not None:
        wanted = SPLITS.get(part.lower(), part)
        wanted = "" if wanted == "train" and wanted not in splits else wanted
        if wanted not in splits:
            what = f"has no files of the part `{part}` (found: {', '.join(named) or 'no parts'})."
            raise Broken("unknown_part", what, "Leave --data.part out, or name another.")
        return splits[wanted]
    if len(splits) > 1 and set(named) != {"train"}:
        others = "" if "" not in splits else " and others"
        what = f"is a folder with files of several parts: {', '.join(named)}{others}."
        raise Broken("several_parts", what, "Say which, for example --data.part train.")
    return list(files)


def _split(path: Path) -> str:
    """The split that a file's name or folder tells, as `train-00000-of-00002.parquet` does."""
    for name in (path.name, *reversed(path.parts[:-1])):
        for word in name.lower().replace("_", "-").replace(".", "-").split("-"):
            if word in SPLITS:
                return SPLITS[word]
    return ""
