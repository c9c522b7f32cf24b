"""`tunesmith train` and `tunesmith evaluate`: a run from a config and flags, and its evaluation."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import FILE_KEYS, command, help_with_keys, keys_named
from tunesmith.cli.gate import gated
from tunesmith.core.errors import UsageError
from tunesmith.core.progress import status_of_cancel
from tunesmith.core.ranks import ReportedElsewhere, speaks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.config.keys import Key
    from tunesmith.config.load import Flags

_DATA_FILES = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"}


def run_keys() -> "Mapping[str, Key]":
    """The keys of a run's config, which are flags too."""
    from tunesmith.config.keys import config_keys

    return config_keys()


@contextlib.contextmanager
def first_speaks() -> Iterator[None]:
    """Inside is work that ranks may share. Of several only the first prints: the others end here.

    An error that this rank is to report passes through.
    """
    try:
        yield
    except ReportedElsewhere:
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        if speaks():
            raise
        raise SystemExit(status_of_cancel()) from None
    if not speaks():
        raise SystemExit(0)


@command
@gated
def train(
    context: typer.Context,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Resume the run in this folder, or at this URL of its mirror."
        ),
    ] = None,
    ranks: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes that share the work, started by torchrun; a power of two.",
        ),
    ] = 1,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
    *,
    require_verdict: bool = False,
) -> Outcome:
    """Fine-tune: `tunesmith train CONFIG`, or `tunesmith train --data FILE` without a file.

    CONFIG is a YAML file (`tunesmith init` writes one). Any key of it can be given or overridden
    as a flag: --method.rank 8, --train.lr=1e-4. Short forms: --model, --data, --method, --out.
    """
    from tunesmith.api.train import train as run

    file, flags = read_words(context.args, command="train")
    with first_speaks():
        return run(
            resume=resume,
            ranks=ranks,
            require_verdict=require_verdict,
            config=file,
            settings=flags,
            progress=True,
        )


def read_words(words: list[str], *, command: str) -> "tuple[Path | None, Flags]":
    """The CONFIG among a command's words, if there is one, and what the flags set."""
    from tunesmith.cli.keys import read_flags

    files, overrides = read_flags(words, known=run_keys())
    if len(files) > 1:
        raise UsageError(
            f"One CONFIG can be given, not {len(files)}: {', '.join(files)}.",
            remedy="Values follow their flag: --data.train FILE.",
        )
    if files and Path(files[0]).suffix in _DATA_FILES:
        raise UsageError(
            f"{files[0]} is a data file, and CONFIG is a YAML file.",
            remedy=f"Write: tunesmith {command} --data {shlex.quote(files[0])}, or let "
            f"`tunesmith init {shlex.quote(files[0])}` write a config.",
        )
    return Path(files[0]) if files else None, overrides


KEYS = ("goal", "model", "dtype", "device", "trust_remote_code", "data.train", *FILE_KEYS)


def evaluate_keys() -> "Mapping[str, Key]":
    """The keys of a run's config that an evaluation may change."""
    from tunesmith.config.keys import config_keys

    every = config_keys()
    mine = [name for name in every if name.startswith("evaluate.")]
    return keys_named(*KEYS, *mine, "train.threads")


@command
@gated
def evaluate(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Use the rows of this file instead of those that the run held out."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            readable=False,
            help="Where evaluation.json and answers.jsonl go; without it the run's folder.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", readable=False, help="Ask this earlier run the same: is this one better?"
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again even where nothing has changed.")
    ] = False,
    _: Annotated[bool, help_with_keys(evaluate_keys)] = False,
) -> Outcome:
    """Did it work? Evaluate a run again: `tunesmith evaluate RUN`, an adapter's folder, or a model.

    Base, base with your long prompt, base with examples and tuned answer the same held-out rows;
    checks and probes give the verdict. Answers are cached: no question is answered twice.
    """
    from tunesmith.api.evaluate import evaluate as run

    target, flags = _asked(context.args)
    return run(target, data, settings=flags, out=out, against=against, fresh=fresh, progress=True)


def _asked(words: list[str]) -> "tuple[str, Flags]":
    """What is evaluated, and what the flags set."""
    from tunesmith.cli.keys import read_flags

    targets, overrides = read_flags(words, known=evaluate_keys())
    if len(targets) != 1:
        given = f"not {len(targets)}: {', '.join(targets)}" if targets else "and none is given"
        raise UsageError(
            f"One run, adapter or model is evaluated, {given}.",
            remedy="Write: tunesmith evaluate runs/NAME; `tunesmith runs list` shows the runs.",
        )
    return targets[0], overrides
