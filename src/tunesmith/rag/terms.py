"""What full-text search sees of a text: words, and pairs of characters where words are not apart.

Korean puts particles behind words, Chinese and Japanese put nothing between them: overlapping pairs
of characters find a word whatever follows it (as in Lucene's CJKAnalyzer).
"""

import re
import unicodedata

UNSPACED = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff]+"
)


def terms(text: str) -> str:
    """``text`` with runs of Hangul, Han and kana as pairs; composed and compatible forms alike."""
    return UNSPACED.sub(_pairs, unicodedata.normalize("NFKC", text))


def _pairs(run: re.Match[str]) -> str:
    characters = run[0]
    pairs = [characters[i : i + 2] for i in range(max(len(characters) - 1, 1))]
    return f" {' '.join(pairs)} "
