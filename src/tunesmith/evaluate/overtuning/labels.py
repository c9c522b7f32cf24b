"""Are answers choices among a few, and what would a model lose that never reads the question?"""

import math
from collections import Counter
from collections.abc import Sequence

from tunesmith.data.quality.contradictions import ROWS_PER_ANSWER
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluate.overtuning.evidence import Labels


def labels_of(answers: Sequence[str], tokens: Sequence[int]) -> Labels | None:
    """From training answers and the supervised tokens of each; None where they are no choices:
    fewer than three rows an answer, as where contradictions are looked for, or one answer only.

    The entropy of the answers (nats an answer) over the mean tokens of one.
    """
    counts = Counter(bare(fold(text)) for text in answers)
    rows = counts.total()
    if len(counts) < 2 or ROWS_PER_ANSWER * len(counts) > rows:
        return None
    entropy = -math.fsum(count / rows * math.log(count / rows) for count in counts.values())
    return Labels(len(counts), entropy * len(tokens) / sum(tokens))
