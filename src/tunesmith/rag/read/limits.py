"""How large may a file be, and what it unfolds into?"""

from tunesmith.errors import RagError

MOST_TEXT_BYTES = 32 * 2**20  # of a file that is text, and of the text that any file holds
MOST_FILE_BYTES = 512 * 2**20  # of a PDF or DOCX: mostly pictures


def require_text_size(count: int, *, what: str) -> None:
    """Raise RagError for more text than one file may hold."""
    if count > MOST_TEXT_BYTES:
        raise RagError(
            f"{what} {count / 2**20:,.0f} MB of text; a file may hold {MOST_TEXT_BYTES >> 20} MB.",
            remedy="Split it into files.",
            code="too_large",
        )
