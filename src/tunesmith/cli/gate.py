"""The flags by which a build holds to a verdict: --require, --junit, --markdown."""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from tunesmith.api.gate import Gate
from tunesmith.api.show import Outcome

P = ParamSpec("P")


class Required(StrEnum):
    """What the verdict must be."""

    YES = "yes"
    NOT_NO = "not-no"


FLAGS = {
    "require": Annotated[
        Required | None,
        typer.Option(help="Exit 3 where the verdict is no, 4 where it must be yes and is not."),
    ],
    "junit": Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write the verdict as JUnit XML."),
    ],
    "markdown": Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write a card for a pull request."),
    ],
}


NEEDED = "require_verdict"


def gated(function: Callable[P, Outcome]) -> Callable[P, Outcome]:
    """``function`` with these flags; its outcome ends with the status that they ask for.

    One that takes `NEEDED` learns whether a verdict is required, before it begins.
    """
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Outcome:
        require, junit, markdown = (kwargs.pop(name) for name in FLAGS)
        assert junit is None or isinstance(junit, Path)
        assert markdown is None or isinstance(markdown, Path)
        if NEEDED in signature.parameters:
            kwargs[NEEDED] = require is not None
        gate = Gate(require.value if isinstance(require, Required) else None, junit, markdown)
        return gate.over(functools.partial(function, *args, **kwargs))

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in FLAGS.items()
    ]
    own = [each for name, each in signature.parameters.items() if name != NEEDED]
    parameters = [*own, *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run
