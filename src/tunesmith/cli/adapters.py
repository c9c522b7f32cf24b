"""`tunesmith adapters`: what was trained, looked at and made into something else."""

import typer

from tunesmith.cli.combine import conflicts, merge

app = typer.Typer(help="Trained adapters: what clashes, and several made one.")

app.command("conflicts")(conflicts)
app.command("merge")(merge)
