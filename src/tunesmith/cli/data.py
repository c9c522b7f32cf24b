"""`tunesmith data`: would a run take it, how does a model see it, split it, distill it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.api.show import Outcome, show_notes
from tunesmith.cli.command import (
    CONTEXT,
    FILE_KEYS,
    LONGEST_ANSWER,
    Columns,
    Share,
    calls,
    command,
    help_with_keys,
    keys_named,
    messages,
    pairs_of,
    say,
)
from tunesmith.cli.compare import curve
from tunesmith.core.errors import UsageError

app = typer.Typer(help="Check data, see it as the model will, split it, distill an instruction.")
with_keys = functools.partial(
    app.command, options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT
)


ASKED = ("data.control_tokens", "data.system", "data.template_options")
DATA = (*FILE_KEYS, "data.max_tokens", "data.document", *ASKED)
SHOWN = (*DATA, "data.drop", "model", "trust_remote_code")
LIMITS = ("data.overflow", "data.max_tokens")
METHOD = ("method.kind", "train.epochs", "train.seed", "train.threads", "dtype", "device")
RUN = (*SHOWN, "data.eval", *LIMITS, *METHOD)


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE [FILE ...]",
        help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder; several are trained together.",
    ),
]


@with_keys("check")
@command
def check(
    context: typer.Context,
    file: File,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*RUN))] = False,
) -> Outcome:
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data.

    It also reports sizes, lengths, an estimate of the training time, and notes on what would train
    badly (docs/data-quality.md). Tokens are kept, so that neither a second check nor the run makes
    them again.
    """
    from tunesmith.api.data import check as run
    from tunesmith.cli.keys import read_file_words

    data, flags = read_file_words(file, context.args, known=keys_named(*RUN), several=True)
    return run(data, settings=flags, progress=True)


@with_keys("show")
@command
def show(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder."
        ),
    ],
    rows: Annotated[int, typer.Option("-n", min=1, metavar="ROWS", help="How many rows.")] = 3,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write them as a page.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show where tokens begin.")] = False,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*SHOWN))] = False,
) -> Outcome:
    """Rows as the model will see them: the chat template applied, supervised text in colour."""
    from tunesmith.api.show_data import show as run
    from tunesmith.cli.keys import read_file_words

    data, flags = read_file_words(file, context.args, known=keys_named(*SHOWN))
    found = run(data, rows=rows, page=page, tokens=tokens, settings=flags)
    show_notes(messages(), found.notes)
    if page is not None:
        say(f"Written: {page}")
    say(found.legend(in_colour=messages().color_system is not None), style="dim")
    return found


@app.command("split")
@calls("split", columns=functools.partial(pairs_of, "data.map"))
def split(  # noqa: PLR0913  # one parameter for each flag
    data: Annotated[str, typer.Argument(metavar="FILE", help="Rows, as for `data check`.")],
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="A new folder: train.jsonl and eval.jsonl.")
    ],
    share: Share = 0.1,
    by: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What stays on one side: cluster (rows that ask the same or nearly the same), "
            "row (each by itself), or the name of a column (rows with the same value).",
        ),
    ] = "cluster",
    stratify: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Hold out about the same share of each value: answer, or the name of a column.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63, help="Of the draw.")] = 0,
    format: Annotated[  # the key's name
        str, typer.Option("--data.format", metavar="NAME", help="Layout of a row.")
    ] = "auto",
    columns: Columns = None,
    encoding: Annotated[
        str, typer.Option("--data.encoding", metavar="NAME", help="Of text files.")
    ] = "auto",
    delimiter: Annotated[
        str | None, typer.Option("--data.delimiter", metavar="MARK", help="Between columns.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--data.part", metavar="NAME", help="Sheet, JSON list, member of a zip."),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(
            "--data.drop", metavar="empty", help="Drop rows without a question or an answer."
        ),
    ] = None,
) -> None:
    """Hold out rows in two files; what is nearly the same is never on both sides.

    The choice depends on the rows and the seed, not on their order. Rows of JSON lines are copied
    byte for byte, other files become JSON lines; mapped columns get our names and need no map then.
    """


def _checks(words: Sequence[str]) -> list[object]:
    """Each check as a config has it: a kind, or a mapping in YAML."""
    import yaml

    try:
        return [yaml.safe_load(word) if word.lstrip()[:1] == "{" else word for word in words]
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or error
        raise UsageError(
            f"--check {' --check '.join(words)}: not valid YAML: {problem}.",
            remedy="Put texts in quotes, or write the check in a file and give it with --config.",
        ) from None


@app.command("distill")
@calls("distill", checks=_checks)
def distill(  # noqa: PLR0913  # one parameter for each flag
    inputs: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="What is asked: rows of any kind with prompt, question, input or messages, or a "
            ".txt with one on each line.",
        ),
    ],
    out: Annotated[str, typer.Option(metavar="FILE", help="Where the rows go, a JSONL file.")],
    prompt: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A text file: the instruction. A teacher needs none."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible endpoint whose model answers in place of the base.",
        ),
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model at that endpoint.")
    ] = None,
    teacher_key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The environment variable that holds its key, OPENAI_API_KEY by default; none: it "
            "needs none.",
        ),
    ] = None,
    teacher_terms: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The terms of its outputs, which the record and the adapter's card name.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="A run's YAML file: its base, checks, longest answer and seed are used.",
        ),
    ] = None,
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="CHECK",
            help="A kind (json, exact, ...), or as in a config: '{kind: regex, pattern: ^Yes}'. "
            "Repeatable.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The base that answers: short name, folder or hub id."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Answers drawn for an input, at most; 4 by default.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Different answers kept of an input, each a row; 1 by default."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of the draws; 0.7 by default.")
    ] = None,
    max_new_tokens: Annotated[int | None, LONGEST_ANSWER] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from what an earlier call saved beside FILE.")
    ] = False,
) -> None:
    """Let the base, or a teacher, answer under an instruction; what passes becomes rows without it.

    Any method then trains on the rows, and the instruction need not be sent any more.
    """


with_keys("curve")(curve)
