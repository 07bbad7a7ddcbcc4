"""Pages of the documentation that follow from the code, made when mkdocs builds the site (`make docs`).

The command line, the Python API, metrics, hooks and the record are described from their definitions;
README.md and CONTRIBUTING.md appear as pages; the code of ``first_session.md`` is run, and its output is
shown below each block.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import pkgutil
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
EXECUTED = "first_session"
"""The page whose code is run; it is offered as a notebook, too."""
PACKAGES = ("data", "bodies", "controllers")
PLACES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "reporting.md", "CHANGELOG.md": "changes.md"}
"""Files beside docs/ → their pages."""
COPIED = {
    "CITATION.cff": ROOT / "CITATION.cff",
    "LICENSE": ROOT / "LICENSE",
    "images/icon.svg": ROOT / "neurobench_grasp/leaderboard/site/assets/icon.svg",
    "reference/record.schema.json": ROOT / "neurobench_grasp/records/record.schema.json",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    made = {**texts(), **references(), **gallery(), **executed(EXECUTED)}
    for uri, content in made.items():
        if old := files.get_file_from_path(uri):
            files.remove(old)
        files.append(File.generated(config, uri, content=content))
    for uri, path in COPIED.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to files beside docs/ point to their pages."""
    return re.sub(r"\]\(\.\./([A-Z]+\.md)", lambda link: f"]({PLACES[link[1]]}", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show roles of reStructuredText in docstrings as code."""
    return re.sub(r":(?:class|func|meth|mod|data|attr):<code>~?([^<]*)</code>", r"<code>\1</code>", html)


# -- files beside docs/ -----------------------------------------------------------------------------------


def texts() -> dict[str, str]:
    """Return README.md and others as pages; CONTRIBUTING.md becomes two."""
    pages = {place: (ROOT / name).read_text() for name, place in PLACES.items()}
    head, evening, contract = re.split(
        r"^(?=## (?:Your model|The contract))", pages["contributing.md"], flags=re.M
    )
    pages["evening.md"] = evening.replace("## ", "# ", 1).replace("\n### ", "\n## ")
    pages["contributing.md"] = head + contract
    pages["index.md"] = (ROOT / "README.md").read_text()
    return {uri: _linked(text) for uri, text in pages.items()}


def _linked(text: str) -> str:
    text = text.replace("CONTRIBUTING.md#your-model-on-the-board-by-the-evening", "evening.md")
    text = re.sub(r"(\]\(|src=\")docs/", r"\1", text)
    return re.sub(r"\]\(([A-Z]+\.md)", lambda link: f"]({PLACES[link[1]]}", text)


# -- reference --------------------------------------------------------------------------------------------


def references() -> dict[str, str]:
    """Return the reference, page by page."""
    import neurobench_grasp
    from neurobench_grasp import hookspecs, scoring
    from neurobench_grasp.data.nwb import layout

    fields = [layout.Layout, *(x for x in _own(layout) if x.__name__.endswith(("Source", "Layout")))]
    fields = list(dict.fromkeys(fields))  # the whole before its parts
    hooks = [x for x in _own(hookspecs) if x.__name__.startswith("ngb_")]
    packages = {f"neurobench_grasp.{name}": import_module(f"neurobench_grasp.{name}") for name in PACKAGES}
    public = {name: [x for x in _public(package) if x not in fields] for name, package in packages.items()}
    scores = [import_module(f"{scoring.__name__}.{m.name}") for m in pkgutil.iter_modules(scoring.__path__)]
    pages = {
        "python": _page("Python", "`import neurobench_grasp as ngb`", {"": _public(neurobench_grasp)}),
        "packages": _page("Data, bodies, controllers", "", public),
        "scoring": _page("Scoring", "Functions of arrays.", {m.__name__: _own(m) for m in scores}),
        "hooks": _page("Hooks", _paragraphs(hookspecs), {"": hooks}),
        "layout": _page(
            "Fields of a layout", "What each field of a [layout](../layouts.md) is.", {"": fields}
        ),
        "cli": "\n".join(command_line()),
        "metrics": "\n".join(metrics()),
        "record": "\n".join(record()),
    }
    return {f"reference/{name}.md": text for name, text in pages.items()}


def _page(title: str, introduction: str, sections: Mapping[str, Iterable[Any]]) -> str:
    """Return a page of docstrings."""
    lines = [f"# {title}", introduction]
    for name, objects in sections.items():
        lines += [f"## {name}" if name else "", *(f"::: {x.__module__}.{x.__qualname__}" for x in objects)]
    return "\n\n".join(lines)


def _public(package: ModuleType) -> list[Any]:
    """Return the functions and then the classes that a package offers."""
    offered = [getattr(package, name) for name in package.__all__]
    ours = [x for x in offered if getattr(x, "__module__", "").startswith(package.__name__.split(".")[0])]
    return sorted((x for x in ours if hasattr(x, "__qualname__")), key=inspect.isclass)


def _own(module: ModuleType) -> list[Any]:
    """Return the public functions and classes that a module defines, in its order."""
    found = [x for x in vars(module).values() if getattr(x, "__module__", "") == module.__name__]
    return [x for x in found if hasattr(x, "__qualname__") and not x.__name__.startswith("_")]


def _paragraphs(documented: Any) -> str:
    """Return a docstring as Markdown: reStructuredText's code blocks and literals."""
    text = inspect.getdoc(documented) or ""
    return re.sub(r"``(.+?)``", r"`\1`", re.sub(r"::$", ":", text, flags=re.M))


def command_line() -> Iterator[str]:
    """Describe every command of ``ngb``."""
    import typer

    from neurobench_grasp.cli import app

    yield "# Command line\n\n`ngb COMMAND --help` prints the same.\n"
    yield from _commands(typer.main.get_command(app), "ngb")


def _commands(command: Any, name: str) -> Iterator[str]:
    yield f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n"
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    if shown:
        yield "| option | meaning | default |\n|---|---|---|"
        yield from map(_option, shown)
        yield ""
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{name} {word}")


def _option(option: Any) -> str:
    argument = option.param_type_name == "argument"
    names = [option.name.upper()] if argument else [*option.opts, *option.secondary_opts]
    default = "" if option.default in (None, False, ()) or callable(option.default) else f"`{option.default}`"
    return f"| {', '.join(f'`{name}`' for name in names)} | {_cell(option.help or '')} | {default} |"


def metrics() -> Iterator[str]:
    """Explain what is scored: protocols, then their metrics."""
    from neurobench_grasp.leaderboard.site.glossary import METRICS
    from neurobench_grasp.plugins import load_registry

    yield "# Metrics\n\nWhat the rows of a record are. [The protocol](../protocol.md) defines them exactly.\n"
    yield "| metric | is |\n|---|---|"
    yield from (f"| `{name}` | {_cell(text)} |" for name, text in METRICS.items())
    yield "\n## Protocols\n\n| protocol | version | scores |\n|---|---|---|"
    for provided in load_registry().protocols():
        spec = provided.spec
        yield f"| `{spec.name}` | {spec.version} | {_cell(spec.summary)} |"


def record() -> Iterator[str]:
    """Describe the fields of a record from its schema."""
    schema = json.loads(COPIED["reference/record.schema.json"].read_text())
    yield "# The record\n"
    yield f"{schema['description']} A JSON file that [this schema](record.schema.json) describes.\n"
    for name, part in {"": schema, **schema["$defs"]}.items():
        if "properties" in part:
            yield f"## {name}\n" if name else ""
            yield "| field | type | is |\n|---|---|---|"
            yield from _fields(part, "")
            yield ""


def _fields(part: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, inner in part.get("properties", {}).items():
        optional = "" if name in part.get("required", ()) else " (optional)"
        yield f"| `{before}{name}`{optional} | {_type(inner)} | {_cell(inner.get('description', ''))} |"
        yield from _fields(inner.get("items", inner), f"{before}{name}{'[]' if 'items' in inner else ''}.")


def _type(part: Mapping[str, Any]) -> str:
    """Return the type of a field of a JSON schema as text."""
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    if "$ref" in part:
        return str(part["$ref"].rsplit("/", 1)[-1])
    if "items" in part:
        return f"array of {_type(part['items'])}"
    kinds = part.get("type", [])
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _cell(text: str) -> str:
    """Return text for a cell of a table; brackets are no links."""
    return re.sub(r"([|\[])", r"\\\1", " ".join(text.split()))


# -- figures ----------------------------------------------------------------------------------------------


def gallery() -> dict[str, bytes]:
    """Draw the figures that follow from the reviewed records of ``muscle_ppo`` on ``demo``."""
    from neurobench_grasp.plots.brain_control import brain_control
    from neurobench_grasp.plots.decoding import decoding
    from neurobench_grasp.plots.gains import gains
    from neurobench_grasp.plots.layers import layers
    from neurobench_grasp.plots.scores import scores
    from neurobench_grasp.plots.sources import RunFolder

    submissions = (ROOT / "registry/results").glob("muscle_ppo-*")
    (results,) = (folder for folder in submissions if any(folder.glob("records/*-demo-*")))
    folder = RunFolder.read(results)
    encoding = folder.networks("muscle_ppo", "encoding", {}, None)
    control = folder.networks("muscle_ppo", "brain-control", {}, None)
    drawn = [scores(encoding), gains(encoding), layers(encoding), decoding(control), brain_control(control)]
    return {f"images/gallery/{drawing.name}.png": drawing.png for drawing in drawn}


# -- code that is run -------------------------------------------------------------------------------------


@dataclass
class Cell:
    """A piece of a page, and what its code printed and returned."""

    kind: str
    source: str
    printed: str = ""
    shown: dict[str, str | bytes] = field(default_factory=dict)


def executed(name: str) -> dict[str, str | bytes]:
    """Run the code of a page, in an empty folder.

    Returns
    -------
    dict of str to str or bytes
        The page with the output of each block, its pictures, and the same as a Jupyter notebook.
    """
    text = (ROOT / "docs" / f"{name}.md").read_text()
    cells = [
        Cell("code" if k % 2 else "markdown", piece.strip("\n"))
        for k, piece in enumerate(re.split(r"```python\n(.*?)```", text, flags=re.S))
    ]
    scope: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for cell in cells:
            if cell.kind == "code":
                _run(cell, scope)
    pictures = {
        f"images/{name}-{k}.png": cell.shown["image/png"]
        for k, cell in enumerate(cells)
        if "image/png" in cell.shown
    }
    page = "\n\n".join(_shown(cell, f"images/{name}-{k}.png") for k, cell in enumerate(cells))
    return {f"{name}.md": page, f"{name}.ipynb": notebook(cells), **pictures}


def _run(cell: Cell, scope: dict[str, Any]) -> None:
    """Run code as a notebook does: the value of a last expression is shown."""
    tree = ast.parse(cell.source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, EXECUTED, "exec"), scope)
        value = eval(compile(ast.Expression(last.value), EXECUTED, "eval"), scope) if last else None
    cell.printed = printed.getvalue().strip("\n")
    if value is not None:
        cell.shown["text/plain"] = repr(value)
        for kind, method in (("text/html", "_repr_html_"), ("image/png", "_repr_png_")):
            if hasattr(value, method):
                cell.shown[kind] = getattr(value, method)()


def _shown(cell: Cell, picture: str) -> str:
    if cell.kind == "markdown":
        return cell.source
    parts = [f"```python\n{cell.source}\n```"]
    if cell.printed:
        parts.append(f'<div class="output"><pre><code>{escape(cell.printed)}</code></pre></div>')
    if "image/png" in cell.shown:
        parts.append(f"![Output of the code above]({picture})")
    elif "text/html" in cell.shown:
        parts.append(f'<div class="output">{cell.shown["text/html"]}</div>')
    elif cell.shown:
        parts.append(
            f'<div class="output"><pre><code>{escape(str(cell.shown["text/plain"]))}</code></pre></div>'
        )
    return "\n\n".join(parts)


def notebook(cells: Iterable[Cell]) -> str:
    """Return cells with their output as a Jupyter notebook (nbformat 4.5)."""
    from base64 import b64encode

    written = []
    for k, cell in enumerate(cells):
        one: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": f"cell-{k}",
            "metadata": {},
            "source": cell.source,
        }
        if cell.kind == "code":
            printed = (
                [{"output_type": "stream", "name": "stdout", "text": cell.printed}] if cell.printed else []
            )
            data = {
                kind: b64encode(x).decode() if isinstance(x, bytes) else x for kind, x in cell.shown.items()
            }
            value = (
                [{"output_type": "execute_result", "execution_count": k, "metadata": {}, "data": data}]
                if data
                else []
            )
            one |= {"execution_count": k, "outputs": printed + value}
        written.append(one)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": written},
        indent=1,
        ensure_ascii=False,
    )
