"""What every command has: --json, --debug, a --help with config keys, an outcome, a status."""

import errno
import functools
import inspect
import json
import math
import operator
import os
import platform
import shlex
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO, TypeVar

import typer
from typer.models import OptionInfo

import tunesmith
from tunesmith.api.show import Outcome, sanitize, standard_console
from tunesmith.api.work import errors_folder
from tunesmith.core.errors import OldNameWarning, TunesmithError, UsageError
from tunesmith.core.language import localized
from tunesmith.core.progress import Cancelled, status_of_cancel

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.keys import Key


# What the file system refuses and a user can fix, wherever it comes up.
_FIXABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
}
words_given: ContextVar[Sequence[str]] = ContextVar("words_given", default=())

Document = Mapping[str, object]
P = ParamSpec("P")
Number = TypeVar("Number", int, float)

AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON document on standard output, nothing else."),
]
_Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show where an error comes from."),
]

# Parameters that several commands have.
Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--data.map", metavar="OURS=THEIRS", help="A column's name in the file. Repeatable."
    ),
]
LONGEST_ANSWER = typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
Share = Annotated[float, typer.Option(help="Share that is held out.")]


def results() -> "Console":
    """Standard output, for what was asked; wide enough for tables when it is no terminal."""
    return standard_console(stderr=False)


def messages() -> "Console":
    """Standard error, for progress, notes and errors."""
    return standard_console(stderr=True)


def say(text: str, *, style: str | None = None) -> None:
    """One message on standard error, in the user's language.

    It is never wrapped, so that it can be searched and copied.
    """
    messages().print(sanitize(localized(text)), style=style, soft_wrap=True)


def command(function: Callable[P, Outcome]) -> Callable[P, None]:
    """``function`` as a command: with --json and --debug, its result and its errors printed.

    It ends in `typer.Exit`: 0, 1 for a refusal or a result that is not good, 2 for wrong usage, 130
    for Ctrl-C, 143 for SIGTERM. A function that must know of --json before it has a result takes
    ``as_json: AsJson``.
    """
    signature = inspect.signature(function, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("as_json", AsJson), ("debug", _Debug))
        if name not in signature.parameters
    ]

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json, debug = bool(kwargs["as_json"]), bool(kwargs["debug"])
        for parameter in added:
            kwargs.pop(parameter.name)
        call = functools.partial(function, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            raise typer.Exit(_concluded(call, as_json=as_json, debug=debug))

    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def calls(
    verb: str, **read: Callable[[Any], object]
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a command of a function without a body: it calls ``verb`` of `import tunesmith`.

    Each parameter goes there under its own name, unless it is None and the verb has a default.
    ``read`` makes the value of what the command line gives.
    """

    def bind(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def call(*_: P.args, **given: P.kwargs) -> Outcome:
            found: Callable[..., Outcome] = operator.attrgetter(verb)(tunesmith)
            known, unset = inspect.signature(found).parameters, inspect.Parameter.empty
            values = {n: v for n, v in given.items() if v is not None or known[n].default is unset}
            values |= {name: make(values[name]) for name, make in read.items() if name in values}
            if "progress" in known:
                values["progress"] = True
            return found(**values)

        run = command(call)
        run.verb = verb  # type: ignore[attr-defined]  # which a test compares
        return run

    return bind


def numbers_of(flag: str, kind: type[Number], text: str) -> list[Number]:
    """`0.2,0.5` as numbers."""
    try:
        return [kind(part) for part in text.split(",") if text.strip()]
    except ValueError:
        example = "16,32" if kind is int else "1,0.5"
        raise UsageError(
            f"--{flag} {text}: these are not numbers.", remedy=f"Write --{flag} {example}."
        ) from None


def pairs_of(flag: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """`OURS=THEIRS` of a flag that can be repeated; UsageError for another form."""
    if wrong := [pair for pair in pairs or () if "=" not in pair]:
        raise UsageError(f"--{flag} takes OURS=THEIRS (given: {', '.join(wrong)}).")
    return {ours: theirs for pair in pairs or () for ours, _, theirs in [pair.partition("=")]}


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """An old name in one line; what a library warns of with its place, as Python does."""
    if issubclass(category, OldNameWarning):
        say(f"warning: {message}", style="yellow")
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(text)


def _concluded(call: Callable[[], Outcome], *, as_json: bool, debug: bool) -> int:
    try:
        result = call()
        _print(result, as_json=as_json)
        return result.status
    except TunesmithError as error:
        if debug:
            traceback.print_exc()
        refuse(error, as_json=as_json)
        return error.exit_status
    except Cancelled as cancelled:
        if isinstance(cancelled.result, Outcome):
            _print(cancelled.result, as_json=as_json)
        else:
            _report_interrupt(_with_same_words(cancelled), as_json=as_json)
        return status_of_cancel()
    except KeyboardInterrupt as interrupt:
        _report_interrupt(str(interrupt) or "Interrupted.", as_json=as_json)
        return status_of_cancel()
    except BrokenPipeError:
        # Whoever read the output has left (`| head`): nothing more to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        refuse(_unexpected(error), as_json=as_json)
        return 1


def _print(result: Outcome, *, as_json: bool) -> None:
    if as_json:
        write_document(result.to_json())
    else:
        result.show(results())


def _with_same_words(cancelled: Cancelled) -> str:
    """The message, with the command line that resumes where that is this one."""
    if not cancelled.same_call:
        return str(cancelled)
    again = shlex.join(["tunesmith", *words_given.get()])
    return f"{cancelled.message} To resume: {again}"


def _report_interrupt(message: str, *, as_json: bool) -> None:
    refuse(TunesmithError(message, code="interrupted"), as_json=as_json)


def refuse(error: TunesmithError, *, as_json: bool) -> None:
    """Print an error: the message and the way out, or the same as a JSON document.

    Its ``details`` (an Outcome), where it has any, are printed with it.
    """
    details = getattr(error, "details", None)
    if as_json:
        fault = {"code": error.code, "message": error.message, "remedy": error.remedy}
        write_document({"error": fault, **(details.to_json() if details else {})})
        return
    if details is not None:
        details.show(results())
    kind = "" if error.code == "interrupted" else "error: "
    say(f"{kind}{error.message}", style="bold red" if kind else "yellow")
    if error.remedy:
        say(error.remedy)


def write_document(document: Document) -> None:
    """The one JSON document on standard output; what JSON cannot hold (NaN) is null."""
    sys.stdout.write(json.dumps(_plain(document), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _unexpected(error: Exception) -> TunesmithError:
    """A fault of ours: its traceback in a file that the message names."""
    from tunesmith.core.files import reason_of, refusal_of, remedy_of

    refused = refusal_of(error)
    if refused is not None and refused.errno in _FIXABLE:
        where = f"{refused.filename}: " if refused.filename else ""
        what = f"{where}{reason_of(refused)}."
        return TunesmithError(what, remedy=remedy_of(refused), code="file_system")
    what = f"Unexpected {type(error).__name__}: {error}"
    try:
        file = _write_traceback(error)
    except (OSError, TunesmithError):
        return TunesmithError(what, remedy="Run it again with --debug.", code="unexpected")
    remedy = f"This is a fault of Tunesmith; what happened is in {file}. Please report it."
    return TunesmithError(what, remedy=remedy, code="unexpected")


def _write_traceback(error: Exception) -> Path:
    from tunesmith.core.files import replace_text

    now = datetime.now(UTC)
    file = errors_folder() / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    python = f"Python {platform.python_version()}, {platform.platform()}"
    head = f"tunesmith {tunesmith.__version__}, {python}\n{' '.join(sys.argv)}\n"
    trace = "".join(traceback.format_exception(error))
    replace_text(file, f"{head}{now.isoformat()}\n\n{trace}")
    return file


FILE_KEYS = ("data.format", "data.map", "data.encoding", "data.delimiter", "data.part")
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
INDENT, WIDEST = 8, 100


def help_with_keys(keys: Callable[[], Mapping[str, "Key"]]) -> OptionInfo:
    """A --help option that lists ``keys`` too, which are asked for only then."""

    def show(context: typer.Context, wanted: bool) -> None:
        if wanted:
            width = min(shutil.get_terminal_size().columns, WIDEST)
            typer.echo("\n".join([context.get_help(), *key_lines(keys(), width=width)]))
            raise typer.Exit

    option: OptionInfo = typer.Option(
        "--help", "-h", is_eager=True, callback=show, help="Show this page."
    )
    return option


def keys_named(*names: str) -> Mapping[str, "Key"]:
    """These keys of a run's config."""
    from tunesmith.config.keys import config_keys

    return {name: key for name, key in config_keys().items() if name in names}


def key_lines(keys: Mapping[str, "Key"], *, width: int) -> Iterator[str]:
    """Each section of the config with its keys: what a key takes, its default, what it does."""
    kinds = max((len(key.kinds) for key in keys.values()), default=0)
    for section in dict.fromkeys(key.section for key in keys.values()):
        yield f"\nConfig: {section}" if section else "\nConfig"
        for key in keys.values():
            if key.section == section:
                head = f"  --{key.name}  {key.type}"
                default = f"[default: {key.default}]" if key.default else ""
                fits = len(head) + 2 + len(default) <= width
                if fits:
                    yield f"{head}  {default}".rstrip()
                else:
                    yield from textwrap.wrap(
                        head.strip(),
                        width,
                        initial_indent="  ",
                        subsequent_indent=" " * INDENT,
                        break_on_hyphens=False,
                    )
                    yield from [" " * INDENT + default] if default else []
                yield from _explained(key, kinds, width=width)


def _explained(key: "Key", kinds: int, *, width: int) -> list[str]:
    is_of_some = key.kinds and len(key.kinds) < kinds
    text = f"{key.help} ({', '.join(key.kinds)} only)" if is_of_some else key.help
    indent = " " * INDENT
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
