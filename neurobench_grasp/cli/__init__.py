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
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("score", cls=Command)(score.score)
app.command("plan", cls=Command)(plan.plan)
app.command("status", cls=Command)(status.status)
app.command("work", cls=Command)(work.work)
app.command("train", cls=Command)(train.train)
app.command("render", cls=Command)(render.render)
app.command("figures", cls=Command)(figures.figures)
app.command("recovery", cls=Command)(recovery.recovery)
app.command("models", cls=Command)(listing.models)
app.command("datasets", cls=Command)(listing.datasets)
app.command("protocols", cls=Command)(listing.protocols)
app.command("decoders", cls=Command)(listing.decoders)
app.command("bodies", cls=Command)(bodies.bodies)
app.command("plugins", cls=Command)(listing.plugins)
app.command("check", cls=Command)(check.check)
app.command("doctor", cls=Command)(doctor.doctor)
app.command("compare", cls=Command)(compare.compare)
app.command("claims", cls=Command)(claims.claims)
app.command("power", cls=Command)(claims.power)
app.command("leaderboard", cls=Command)(board.leaderboard)
app.command("submit", cls=Command)(submit.submit)
app.command("verify", cls=Command)(verify.verify)
data.app.add_typer(convert.app, name="convert")
app.add_typer(data.app, name="data")
app.add_typer(body.app, name="body")
app.add_typer(new.app, name="new")


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
