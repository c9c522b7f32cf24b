"""A writer of data files for tests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a JSONL file: objects become JSON, text and bytes stay as they are."""

    def written(*rows: object, name: str = "rows.jsonl") -> Path:
        def as_bytes(row: object) -> bytes:
            text = row if isinstance(row, str | bytes) else json.dumps(row, ensure_ascii=False)
            return text if isinstance(text, bytes) else text.encode()

        path = tmp_path / name
        path.write_bytes(b"".join(as_bytes(row) + b"\n" for row in rows))
        return path

    return written
