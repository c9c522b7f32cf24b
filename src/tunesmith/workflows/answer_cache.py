"""Answers that were generated before: kept in the cache by everything that they depend on."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from tunesmith.adapters import config_file
from tunesmith.generate.decoder import Prompt
from tunesmith.generate.sampling import Sampling
from tunesmith.methods.adapter import Adapter
from tunesmith.models.cache import cache_root
from tunesmith.models.hashes import COMBINED, file_sha256, hash_folder
from tunesmith.models.load import Base
from tunesmith.models.supported import is_four_bit

FORMAT = 1  # a change of what generation computes makes it another number


@dataclass(frozen=True, slots=True)
class Said:
    """An answer's token ids without the stop token, and why it ended: `stop` or `length`."""

    ids: tuple[int, ...]
    ended: str


def voice_of(base: Base, adapter: Adapter | None = None, result: Path | None = None) -> str:
    """The hash of who answers: the base's bytes and number format, and those of what was trained.

    ``result`` is the folder of the adapter, or of the model where the base itself was trained.
    """
    folder, trained = base.folder, ""
    if result is not None and adapter is not None and adapter.frozen_base:
        trained = file_sha256(result / config_file.CONFIG) + tensors_sha256(adapter)
    elif result is not None:
        folder = result
    who = (
        hash_folder(folder)[COMBINED],
        is_four_bit(base.model.config),
        str(base.dtype),
        base.device.type,
        trained,
    )
    return _sha256(who)


def tensors_sha256(adapter: Adapter) -> str:
    """SHA-256 of an adapter's tensors as they are in memory: what is saved may be narrower."""
    found = hashlib.sha256()
    for name, parameter in sorted(adapter.parameters.items()):
        found.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().cpu().contiguous().view(-1)
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


@dataclass(slots=True)
class AnswerCache:
    """What one voice said under one sampling: a file of lines, one for each answer.

    A line is written in one go as soon as an answer ends, and one that was cut off is not read:
    whatever kills the process, what was answered stays. Where the cache cannot be written only
    time is lost.
    """

    path: Path
    _known: dict[str, Said] = field(default_factory=dict)

    def said(self, prompt: Prompt) -> Said | None:
        """The answer to a prompt, if it was given before."""
        return self._known.get(_name(prompt))

    def keep(self, prompt: Prompt, said: Said) -> None:
        """Remember an answer."""
        name = _name(prompt)
        self._known[name] = said
        line = json.dumps({"prompt": name, "ids": said.ids, "ended": said.ended})
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(f"\n{line}\n".encode())  # behind whatever a kill left of another line


def open_cache(voice: str, sampling: Sampling, stop_ids: frozenset[int]) -> AnswerCache:
    """The answers of a voice (``voice_of``) that are known already."""
    name = _sha256((FORMAT, voice, asdict(sampling), sorted(stop_ids)))[:32]
    path = cache_root() / "answers" / f"{name}.jsonl"
    return AnswerCache(path, dict(_read(path)))


def _read(path: Path) -> Iterator[tuple[str, Said]]:
    """Every whole line; what is damaged was never answered."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            kept = json.loads(line)
            said = Said(tuple(map(int, kept["ids"])), str(kept["ended"]))
            yield str(kept["prompt"]), said
        except (ValueError, KeyError, TypeError):
            continue


def _name(prompt: Prompt) -> str:
    """Of what is asked: all but who is asked, and with whom it is read."""
    return _sha256((prompt.ids, prompt.most))[:32]


def _sha256(value: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
