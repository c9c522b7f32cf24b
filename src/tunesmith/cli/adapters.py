"""`tunesmith adapters`: list, verify, what clashes, combine, hand over, push and pull."""

import functools
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import tunesmith
from tunesmith.api.show import Outcome
from tunesmith.cli.command import Root, calls, command, messages, numbers_of
from tunesmith.core.errors import TunesmithError
from tunesmith.core.language import localized

ROWS, MAX_DROP = 100, 10.0
RUNS = Path("runs")

Adapters = Annotated[
    list[str],
    typer.Argument(metavar="A B ...", help="Runs, or adapters' folders."),
]
Named = Annotated[
    str,
    typer.Argument(
        metavar="A", help="A run's folder, its name below --root, or an adapter's folder."
    ),
]
SameBase = Annotated[
    bool,
    typer.Option(
        "--force",
        help="A base that differs only in its name is the right one, and changed files of an "
        "adapter are meant.",
    ),
]
Rows = Annotated[
    int, typer.Option(metavar="N", min=2, help="Held-out rows of each run that are asked, at most.")
]

app = typer.Typer(help="Trained adapters: list, verify, combine, hand over.")


@app.command("conflicts")
@calls("conflicts")
def conflicts(
    adapters: Adapters,
    scores: Annotated[
        bool | None,
        typer.Option(
            "--scores/--no-scores",
            show_default=False,
            help="Merge them by every method and measure what each costs on held-out rows. "
            "By default: where an adapter lies in a run with checks and held-out rows.",
        ),
    ] = None,
    rows: Rows = ROWS,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Also write all of it as an HTML page."),
    ] = None,
    force: SameBase = False,
) -> None:
    """What clashes between adapters: layer by layer in their weights, and in what they answer.

    Each pair's cosine, signs and subspaces need the adapters alone. Scores need the base: each
    run's first check on its held-out rows, for the adapter alone and merged with the others.
    """


@app.command("merge")
@calls(
    "merge",
    weights=functools.partial(numbers_of, "weights", float),
    density=functools.partial(numbers_of, "density", float),
    rank=functools.partial(numbers_of, "rank", int),
)
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
        str | None, typer.Option(metavar="W,W", help="What each adapter counts; 1 by default.")
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Share of entries kept; by default the method's own. --auto: several.",
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            metavar="R", help="Largest rank; by default that of all together. --auto: several."
        ),
    ] = None,
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
) -> None:
    """Adapters of one base, made one: by a method, or by the one that keeps most of each skill.

    The result is a LoRA in PEFT's format. The command reports what its rank loses of the
    combination; --auto refuses what would cost an adapter too much.
    """


@app.command("export")
@calls("export")
def export(  # noqa: PLR0913  # one parameter for each flag
    adapter: Named,
    to: Annotated[
        Literal["peft", "merged", "gguf", "ollama", "vllm"],
        typer.Option(
            help="peft: as PEFT loads it. merged: one model, of transformers. gguf: for "
            "llama.cpp. ollama: the same with a Modelfile. vllm: folded for vLLM and SGLang."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder that does not exist yet.")],
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
    quantize: Annotated[
        Literal["q8_0", "q4_k", "q5_k", "q6_k"] | None,
        typer.Option(
            show_default=False,
            help="The GGUF model's weights in 8, 4, 5 or 6 bits; q4_k to q6_k need llama.cpp.",
        ),
    ] = None,
    into: Annotated[
        Literal["trained", "original"],
        typer.Option(
            help="Which base an adapter of a 4-bit base is merged into: the one that it was "
            "trained on, dequantized, or the 16-bit one that this was made from.",
        ),
    ] = "trained",
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base, where it is not what the adapter names."),
    ] = None,
    prompts: Annotated[
        int, typer.Option(min=0, help="To answer with the export and compare; 0: do not run it.")
    ] = 5,
    force: SameBase = False,
    root: Root = RUNS,
) -> None:
    """Hand an adapter over to another program, and see that it answers alike there."""


@app.command("list")
@calls("list_adapters")
def list_(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER",
            show_default=False,
            help="Adapters' folders, or folders that hold some, besides.",
        ),
    ] = None,
    root: Root = RUNS,
) -> None:
    """The adapters of all runs, and those in further folders."""


@app.command("show")
@calls("show_adapter")
def show(adapter: Named, root: Root = RUNS) -> None:
    """One adapter: its base, size, purpose, score, files, and the commands that come next."""


@app.command("verify")
@calls("verify")
def verify(
    adapter: Named,
    model: Annotated[
        str | None,
        typer.Option(show_default=False, help="The base to compare with, not the one it names."),
    ] = None,
    force: SameBase = False,
    root: Root = RUNS,
) -> None:
    """Is it as it was written, and does it fit its base: weights, tokenizer and config, layers and
    their widths, finite values? 1 if not.
    """


Repo = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="OWNER/NAME of the Hugging Face hub, a folder, or s3://BUCKET/NAME."
    ),
]


@app.command("push")
@command
def push(  # noqa: PLR0913  # one parameter for each flag
    adapter: Named,
    repo: Repo,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, bytes, card and findings; push nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before it is pushed.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="A repository that everyone sees; private otherwise.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="In place of an earlier adapter in a folder or in storage."),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            help="personal_data or secrets: push it although this was found. Repeatable.",
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="The page goes too; it shows held-out rows."),
    ] = True,
    root: Root = RUNS,
) -> Outcome:
    """Put an adapter, its card and its report where others find them: hub, folder or storage.

    First it shows all that would go, then it asks; --yes answers. A hub's token is what HF_TOKEN or
    `hf auth login` gives, and is kept nowhere else.
    """
    ready = functools.partial(
        tunesmith.push_adapter,
        adapter,
        repo,
        public=public,
        replace=replace,
        allow=allow or (),
        report=report,
        root=root,
        progress=True,
    )
    if dry_run:
        return ready(dry_run=True)
    if not yes:
        shown = ready(dry_run=True)
        shown.show(messages())
        if shown.is_good:
            _require_yes(repo)
    return ready()


def _require_yes(repo: str) -> None:
    """Ask in a terminal; raise TunesmithError unless the answer is yes."""
    if not sys.stdin.isatty():
        raise TunesmithError(
            f"Nothing was pushed: whether all of this may go to {repo} was not answered.",
            remedy="Give --yes to push it, or --dry-run to look only.",
            code="unconfirmed",
        )
    try:
        is_wanted = typer.confirm(localized(f"Push all of this to {repo}?"), err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        is_wanted = False
    if not is_wanted:
        raise TunesmithError("Nothing was pushed.", code="unconfirmed")


@app.command("pull")
@calls("pull_adapter")
def pull(
    repo: Annotated[
        str,
        typer.Argument(metavar="NAME", help="As it was pushed: OWNER/NAME, a folder, or a URL."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            readable=False,
            show_default=False,
            help="A new folder; one in the cache unless given.",
        ),
    ] = None,
) -> None:
    """Fetch an adapter that was pushed, and verify the SHA-256 of each of its files."""
