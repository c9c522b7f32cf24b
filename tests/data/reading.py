"""The conversations of a file that must be sound."""

from pathlib import Path
from typing import Any

from tunesmith.data.faults import Faults, refuse
from tunesmith.data.read import scan
from tunesmith.data.rows import Conversation


def read_conversations(path: str | Path, **options: Any) -> list[Conversation]:
    """Every conversation of a file; raises FaultyData with all of its faults."""
    reading = scan(path, **options)
    refuse(Faults(reading.faults, reading.unlisted))
    return list(reading.conversations)
