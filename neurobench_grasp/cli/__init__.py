"""The command line; the only code that prints or exits. Commands import lazily."""

from typing import Annotated

import typer

from neurobench_grasp import __version__
from neurobench_grasp.cli import (
    board,
    bodies,
    body,
    check,
    claims,
    compare,
    convert,
    data,
    doctor,
    figures,
    listing,
    new,
    plan,
    recovery,
    render,
    report,
    score,
    status,
    submit,
    train,
    verify,
    work,
)
from neurobench_grasp.cli.terminal import Command

app = typer.Typer(
    help="Score models of the primate sensorimotor system while it moves hand and arm.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PANELS = {
    "Score": (score.score, plan.plan, status.status, work.work, recovery.recovery),
    "Results": (
        compare.compare, claims.claims, claims.power, figures.figures, report.report, render.render,
        board.leaderboard, verify.verify, submit.submit,
    ),
    "Models": (listing.models, train.train, check.check, bodies.bodies, listing.decoders, listing.plugins),
    "Data and protocols": (listing.datasets, listing.protocols),
    "Installation": (doctor.doctor,),
}  # fmt: skip
for panel, commands in PANELS.items():
    for command in commands:
        app.command(command.__name__, cls=Command, rich_help_panel=panel)(command)
data.app.add_typer(convert.app, name="convert")
app.add_typer(data.app, name="data", rich_help_panel="Data and protocols")
app.add_typer(body.app, name="body", rich_help_panel="Models")
app.add_typer(new.app, name="new", rich_help_panel="Models")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ngb {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the warnings of libraries.")
    ] = False,
) -> None:
    """Score models of the primate sensorimotor system while it moves hand and arm."""
