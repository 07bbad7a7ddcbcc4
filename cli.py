"""Run the command line from a checkout: ``python cli.py``."""

from neurobench_grasp.cli import app

app()
