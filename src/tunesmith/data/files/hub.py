"""A data set of the Hugging Face hub, through the library `datasets` where that is installed."""

import importlib.util
from collections.abc import Iterator, Mapping

from tunesmith.data.files.arrow import plain
from tunesmith.data.files.record import ReadOptions, Record, unused
from tunesmith.data.files.source import Broken

PREFIX, DEFAULT_PART = "hf:", "train"
SHOWN_REASON = 300


def is_hub_name(path: str) -> bool:
    """Whether a name is to be looked up on the hub: `hf:OWNER/NAME` or `hf:OWNER/NAME:CONFIG`."""
    return path.startswith(PREFIX)


def read_hub(path: str, options: ReadOptions) -> Iterator[Record]:
    """The rows of one part of a data set, numbered from 1; raises Broken. Runs no code of it."""
    if importlib.util.find_spec("datasets") is None:
        what = "is a data set of the hub, and the library that reads those is not installed."
        remedy = "Install it: pip install 'tunesmith[hub]'. Or download a file of it and name that."
        raise Broken("not_installed", what, remedy)
    yield Record(0, remarks=tuple(unused(options, "encoding", "delimiter")))
    name, _, config = path.removeprefix(PREFIX).removeprefix("//datasets/").partition(":")
    number = 0
    try:
        for row in _rows(name, config or None, options.part or DEFAULT_PART):
            number += 1
            yield Record(number, {column: plain(value) for column, value in row.items()})
    except Exception as error:  # whatever a network and a library of many others come to
        reason = " ".join(str(error).split())[:SHOWN_REASON].rstrip(".") or type(error).__name__
        what = (
            f"the hub's data set cannot be read{f' after row {number}' * (number > 0)}: {reason}."
        )
        remedy = "Check its name, --data.part and the network; or download a file of it and name "
        raise Broken("hub", what, f"{remedy}that.") from None
    if not number:
        raise Broken("empty_file", "holds no rows.", "Name another part with --data.part.")


def _rows(name: str, config: str | None, part: str) -> Iterator[Mapping[str, object]]:
    import datasets

    # Since version 4 the library knows no data sets with code of their own.
    yield from datasets.load_dataset(name, config, split=part, streaming=True)
