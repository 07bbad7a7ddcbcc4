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
EXAMPLES = {
    "score": (
        "ngb score -m muscle_ppo --seeds 5",
        "ngb score -m linear_kinematic -d session.nwb",
        "ngb score -m muscle_ppo -m torque_ppo -d a.nwb -d b.nwb --on slurm --out /scratch/run",
    ),
    "plan": ("ngb plan -m muscle_ppo --seeds 5 > jobs",),
    "status": ("ngb status /scratch/run",),
    "work": ("ngb work /scratch/run",),
    "recovery": ("ngb recovery --networks 3 --on local:2",),
    "compare": ("ngb compare muscle_ppo torque_ppo",),
    "claims": ("ngb claims",),
    "power": ("ngb power m1_reach_c",),
    "figures": ("ngb figures -m muscle_ppo",),
    "render": ("ngb render -m muscle_ppo",),
    "leaderboard": ("ngb leaderboard --html board",),
    "verify": ("ngb verify ngb-runs", "ngb verify registry/results/NAME --rescore"),
    "submit": ("ngb submit ngb-runs -m my_model",),
    "train": ("ngb train -m muscle_ppo -d session.nwb --seeds 5",),
    "check": ("ngb check my_model",),
    "bodies": ("ngb bodies", "ngb bodies myohand"),
}
for panel, commands in PANELS.items():
    for command in commands:
        name = command.__name__
        epilog = "\n\n".join(f"Example: {line}" for line in EXAMPLES.get(name, ()))
        app.command(name, cls=Command, rich_help_panel=panel, epilog=epilog or None)(command)
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
