"""Output of all commands: results on standard output, errors as one sentence, progress."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperCommand

from neurobench_grasp.errors import sentence
from neurobench_grasp.text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neurobench_grasp.contract import Progress

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuarantineOption = Annotated[
    bool,
    typer.Option(
        "--quarantine/--no-quarantine",
        help="Read files in a subprocess, with limits; not those of registered datasets.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Run folder; a run continues where it stopped.")]
STOPPED = "Stopped; no file is incomplete, and the same command resumes where it stopped."


@dataclass(frozen=True)
class Result:
    """Result of a command.

    Parameters
    ----------
    data : object
        JSON values; printed with ``--json``.
    view : sequence of rich renderables
        Printed otherwise.
    exit_code : int
    """

    data: Any
    view: Sequence[RenderableType]
    exit_code: int = 0


class Command(TyperCommand):
    """A command that returns a :class:`Result`, and whose errors are one sentence."""

    def invoke(self, ctx: Any) -> None:
        """Run the command, then print its result; all other output goes to standard error."""
        debug = bool(ctx.find_root().params.get("debug"))
        try:
            with _results_only() as stdout, warnings.catch_warnings():
                if not debug:
                    warnings.simplefilter("ignore")  # the package does not use Python warnings
                result: Result = super().invoke(ctx)
                _print(result, stdout, as_json=ctx.params["as_json"])
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as stop:
            _fail(str(stop) or STOPPED, 130)
        except BrokenPipeError:
            raise typer.Exit(1) from None  # the reader of the output has closed the pipe
        except (Exception, SystemExit) as error:  # a model may also call sys.exit
            if debug:
                print(clean(traceback.format_exc()), file=sys.stderr)
            _fail(sentence(error), 1)
        raise typer.Exit(result.exit_code)


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield a function that shows status messages: a live line on a terminal, else plain lines."""
    if not sys.stderr.isatty():
        yield note
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    from neurobench_grasp.run.how_far import HowFar

    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)  # of the line: a long text is cut at its end
    text = TextColumn("{task.description}", markup=False, table_column=rest)
    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.fields[how_far]}"), text
    with Bar(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("starting", how_far="")

        def show(text: str) -> None:
            if isinstance(text, HowFar):
                bar.update(task, how_far=text.brief)
            bar.update(task, description=clean(text))

        yield show


def note(text: str) -> None:
    """Show the user a message that is not a result."""
    print(clean(text), file=sys.stderr, flush=True)


def table(*columns: str, rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> RenderableType:
    """Return a plain table, legible without colour; columns named in ``numbers`` are right-aligned."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        out.add_column(Text(clean(column)), justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        out.add_row(*(Text(clean(cell)) for cell in row))
    return out


def number(value: float | None, digits: int) -> str:
    """Format a number, never as minus zero; counts and large numbers without decimals."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 100 else f"{value:.3g}"


def with_interval(row: Mapping[str, Any], digits: int | None = None) -> str:
    """Format ``value`` and ``ci`` of a row.

    By default with two decimals if it has a unit, with one if it is a mean count, else with three.
    """
    if digits is None:
        digits = 2 if "unit" in row else 1 if str(row.get("metric", "")).startswith("n_") else 3
    value, ci = number(row["value"], digits), row.get("ci")
    return f"{value} [{number(ci[0], digits)}, {number(ci[1], digits)}]" if ci else value


def _fail(sentence: str, exit_code: int) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(clean(sentence), style="red"))
    raise typer.Exit(exit_code)


def _print(result: Result, stdout: TextIO, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_finite(result.data), indent=1, allow_nan=False), file=stdout)
        return
    from rich.console import Console

    console = Console(file=stdout, highlight=False)
    for part in result.view:
        if isinstance(part, str):
            console.print(clean(part), markup=False, soft_wrap=True)
        else:
            console.print(part)


def _finite(data: Any) -> Any:
    """Replace values that JSON does not support, infinite or undefined numbers, by null."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


@contextmanager
def _results_only() -> Iterator[TextIO]:
    """Yield the stream of results; all other output, of Python or C, goes to standard error."""
    stdout = sys.stdout
    with ExitStack() as stack:
        if _is_descriptor_1(stdout):
            stdout.flush()
            results = os.fdopen(os.dup(1), "w", encoding=stdout.encoding, errors="replace")
            stdout = stack.enter_context(results)
            os.dup2(2, 1)  # permanent: C libraries flush their buffers when the process ends
        stack.enter_context(redirect_stdout(sys.stderr))
        yield stdout


def _is_descriptor_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (OSError, ValueError):  # replaced, as in tests
        return False
