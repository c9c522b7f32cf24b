"""`tunesmith adapters`: which there are, does one fit, what clashes, combine, hand over."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import command
from tunesmith.core.errors import UsageError

ROWS, MAX_DROP = 100, 10.0
_Number = TypeVar("_Number", int, float)

Adapters = Annotated[
    list[str],
    typer.Argument(metavar="A B ...", help="Runs, or adapters' folders."),
]
SameBase = Annotated[
    bool, typer.Option("--force", help="Bases of which the names alone differ are the same one.")
]
Rows = Annotated[
    int, typer.Option(metavar="N", min=2, help="Held-out rows of each run that are asked, at most.")
]


@command
def conflicts(
    adapters: Adapters,
    scores: Annotated[
        bool | None,
        typer.Option(
            "--scores/--no-scores",
            show_default=False,
            help="Merge them by every method and measure what each costs on held-out rows. "
            "Unless told: where an adapter lies in a run with checks and held-out rows.",
        ),
    ] = None,
    rows: Rows = ROWS,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write all of it as an HTML page, too."),
    ] = None,
    force: SameBase = False,
) -> Outcome:
    """What clashes between adapters: layer by layer in their weights, and in what they answer.

    Each pair's cosine, signs and subspaces need the adapters alone. Scores need the base: each
    run's first check on its held-out rows, for the adapter alone and merged with the others.
    """
    from tunesmith.api.merge import conflicts as run

    return run(adapters, scores=scores, rows=rows, page=page, force=force, progress=True)


@command
def merge(  # noqa: PLR0913  # one parameter for each flag
    adapters: Adapters,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", readable=False, help="A new folder for the adapter.")
    ],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="linear, magnitude, ties, dare, dare-ties, sce or knots."
        ),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto",
            help="Try the methods, measure what each costs on held-out rows of the runs, and take "
            "the one whose worst drop is smallest.",
        ),
    ] = False,
    weights: Annotated[
        str, typer.Option(metavar="W,W", help="What each adapter counts; 1 unless given.")
    ] = "",
    density: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="Of entries kept; the method's own unless given. --auto: several."
        ),
    ] = "",
    rank: Annotated[
        str,
        typer.Option(
            metavar="R", help="At most; that of all together unless given. --auto: several."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of what a method draws.")] = 0,
    rows: Rows = ROWS,
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            min=0,
            max=100,
            help="What --auto may cost the score of any adapter; more is refused.",
        ),
    ] = MAX_DROP,
    force: SameBase = False,
) -> Outcome:
    """Adapters of one base, made one: by a method, or by the one that keeps most of each skill.

    The result is a LoRA in PEFT's format. What its rank loses of the combination is told; --auto
    refuses what would cost an adapter too much.
    """
    from tunesmith.api.merge import merge as run

    return run(
        adapters,
        out,
        method=method,
        auto=auto,
        weights=_numbers("weights", weights, float),
        density=_numbers("density", density, float),
        rank=_numbers("rank", rank, int),
        seed=seed,
        rows=rows,
        max_drop=max_drop,
        force=force,
        progress=True,
    )


def _numbers(flag: str, text: str, kind: type[_Number]) -> list[_Number]:
    """`0.2,0.5` as numbers."""
    try:
        return [kind(part) for part in text.split(",") if text.strip()]
    except ValueError:
        example = "16,32" if kind is int else "1,0.5"
        raise UsageError(
            f"--{flag} {text}: these are no numbers.", remedy=f"Write --{flag} {example}."
        ) from None


@command
def export(  # noqa: PLR0913  # one parameter for each flag
    adapter: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run's folder, its name below --root, or an adapter's folder."
        ),
    ],
    to: Annotated[
        Literal["peft", "merged", "gguf", "ollama", "vllm"],
        typer.Option(
            help="peft: as PEFT loads it. merged: one model, of transformers. gguf: for "
            "llama.cpp. ollama: the same with a Modelfile. vllm: folded for vLLM and SGLang."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder that is not there yet.")],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(
            show_default=False,
            help="Number format; else the base's or adapter's own, float16 for a GGUF model.",
        ),
    ] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole model, for gguf, ollama and vllm.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base, where it is not what the adapter names."),
    ] = None,
    prompts: Annotated[
        int, typer.Option(min=0, help="To answer with the export and compare; 0: do not run it.")
    ] = 5,
    force: Annotated[
        bool, typer.Option("--force", help="A base whose name alone differs is the right one.")
    ] = False,
    root: Annotated[
        Path,
        typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
    ] = Path("runs"),
) -> Outcome:
    """Hand an adapter over to another program, and see that it answers alike there."""
    from tunesmith.api.export import export as run

    return run(
        adapter,
        to,
        out,
        dtype=dtype,
        merged=merged,
        model=model,
        prompts=prompts,
        force=force,
        root=root,
        progress=True,
    )


app = typer.Typer(help="Trained adapters: list, verify, combine, hand over.")
app.command("conflicts")(conflicts)
app.command("merge")(merge)
app.command("export")(export)

Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
]
Named = Annotated[
    str,
    typer.Argument(
        metavar="A", help="A run's folder, its name below --root, or an adapter's folder."
    ),
]


@app.command("list")
@command
def list_(
    folder: Annotated[
        list[Path] | None,
        typer.Argument(
            show_default=False, help="Adapters' folders, or folders that hold some, besides."
        ),
    ] = None,
    root: Root = Path("runs"),
) -> Outcome:
    """The adapters of all runs, and those in further folders."""
    from tunesmith.api.adapters import list_adapters

    return list_adapters(folder or (), root=root)


@app.command("show")
@command
def show(adapter: Named, root: Root = Path("runs")) -> Outcome:
    """One adapter: its base, size, purpose, score, files, and the commands that come next."""
    from tunesmith.api.adapters import show_adapter

    return show_adapter(adapter, root=root)


@app.command("verify")
@command
def verify(
    adapter: Named,
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base to compare with, not the one it names."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="A base whose name alone differs is the right one.")
    ] = False,
    root: Root = Path("runs"),
) -> Outcome:
    """Does it fit its base: name, hash, layers and their widths, finite values? 1 if not."""
    from tunesmith.api.adapters import verify as run

    return run(adapter, model=model, force=force, root=root, progress=True)
