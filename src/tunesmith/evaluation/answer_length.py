"""How long an answer may become, where the settings leave it to the data's own answers."""

import math

from tunesmith.config import RunConfig
from tunesmith.data.dataset import Dataset

# At least; as a multiple of the data's longest; and where that is long, so much more than it.
MIN_TOKENS, TIMES, LONG_TIMES = 64, 4, 1.25
USUAL_TOKENS = 256


def with_answer_length(config: RunConfig, rows: Dataset | None) -> RunConfig:
    """The config with a number where `evaluate.max_new_tokens` is `auto`, by the rows' answers.

    The base, which talks more than the data, has room for four times the longest answer and
    does not fail for want of it; up to `USUAL_TOKENS`, which it is without rows, and more where
    the data need it.
    """
    if config.evaluate.max_new_tokens != "auto":
        return config
    tokens = USUAL_TOKENS
    if rows is not None:
        longest = int(rows.supervised.max(initial=0))
        tokens = max(MIN_TOKENS, min(TIMES * longest, tokens), math.ceil(LONG_TIMES * longest))
    evaluate = config.evaluate.model_copy(update={"max_new_tokens": tokens})
    return config.model_copy(update={"evaluate": evaluate})
