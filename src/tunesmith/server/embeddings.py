"""POST /v1/embeddings: vectors of texts, by the model that the documents are embedded with."""

import base64
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tunesmith.conversation.documents import Documents
from tunesmith.core.errors import AdapterError
from tunesmith.server.documents import Document
from tunesmith.server.errors import ApiError
from tunesmith.server.protocol import EmbeddingRequest
from tunesmith.server.served import ServedModels


async def embed(served: ServedModels, body: EmbeddingRequest) -> Document:
    """The vectors of the texts, each of length 1; they are read as documents, not as questions."""
    documents, texts = served.documents, body.texts
    if documents is None or body.model != name_of(documents):
        remedy = "A server with --rag STORE has the store's."
        if documents is not None:
            remedy = f"There is {name_of(documents)}."
        what = f"There is no embedding model {body.model[:100]!r} here."
        raise AdapterError(what, remedy=remedy, code="unknown")
    if not all(texts):
        raise ApiError("`input` holds an empty text.", param="input")
    folder = documents.embedder.folder
    vectors, tokens = await served.rendered(
        lambda: (documents.embedder.embed(texts), _count(folder, texts))
    )
    data = [
        {"object": "embedding", "index": i, "embedding": _written(vector, body.encoding_format)}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}


def name_of(documents: Documents) -> str:
    """What requests call the embedding model: without the folders above it."""
    return Path(documents.embedding).name


def _written(vector: NDArray[np.float32], form: str) -> object:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.tolist()


def _count(folder: Path, texts: list[str]) -> int:
    return sum(len(each.ids) for each in _tokenizer(folder).encode_batch(texts))


@functools.cache
def _tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
