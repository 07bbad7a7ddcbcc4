"""Text on its way out: nothing that steers a terminal, turns text around or computes in a spreadsheet."""

import ast
import io
import os
import pty
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurobench_grasp
from neurobench_grasp.contract import Session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.text import BOX, cell, clean, csv_of, is_line

PACKAGE = Path(neurobench_grasp.__file__).parent
HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202ered\u2066\u200b\x9b2J\u2028=1+1"
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def is_shown(text):
    """Whether a text holds what can be seen, line breaks and tabs alone."""
    return all(c in "\n\t" or unicodedata.category(c) not in UNSEEN for c in text)


@given(st.text() | st.text("a\x1b\x07\u202e\u200b\u2028\n\t\ud800é日 "))
def test_clean_text_is_shown_as_it_is_and_keeps_all_that_is_seen(text):
    made = clean(text)
    assert is_shown(made) and len(made) == len(text) and clean(made) == made
    assert all(a == b or b == BOX for a, b in zip(text, made, strict=True))
    assert is_line(text) == (made == text and not set("\n\t") & set(text))
    assert not cell(text).lstrip().startswith(("=", "+", "-", "@")) and is_shown(cell(text))


def test_what_is_not_seen_or_turns_text_around_is_shown_as_a_box():
    assert (
        clean("a\u202eb\x00c\ud800d\u2066e") == "a\ufffdb\ufffdc\ufffdd\ufffde" and clean("ü日\n") == "ü日\n"
    )


def test_a_table_keeps_its_numbers_and_its_texts_are_safe():
    table = pd.DataFrame(
        {"=x": ["-90", HOSTILE, None], "y": [-1.5, np.nan, 2], "n": pd.array([-1, None, 3], "Int64")}
    )
    text = csv_of(table).decode()
    read = pd.read_csv(io.StringIO(text))
    assert is_shown(text) and list(read.columns) == ["'=x", "y", "n"] and read["'=x"][0] == "'-90"
    assert read.y.tolist()[::2] == [-1.5, 2] and text.splitlines()[1] == "'-90,-1.5,-1"


@pytest.mark.parametrize("name", [HOSTILE, "a\nb", "a\n", "", " ", 5, None, b"a", "\u202e"])
@pytest.mark.parametrize("field", ["id", "subject"])
def test_names_of_sessions_are_one_line_of_text(field, name):
    names = {"id": "s", "subject": "a"} | {field: name}
    with pytest.raises(NgbError) as why:
        Session(
            **names, layout="x", sha256="", synthetic=True, units=None, trials=None, signals={}, window=None
        )
    assert str(why.value) == (
        f"The {field} of a session must be one line of text without control characters, not {name!a:.80}; write it again "
        "under another name."
    )


SAY = f"""
import sys
from neurobench_grasp.cli import terminal
from neurobench_grasp.errors import NgbError
text = {HOSTILE!a}
with terminal.progress() as status:
    status(text)
    import time; time.sleep(0.5)
    status(text + "again")
terminal.note(text)
terminal._print(terminal.Result({{"x": text}}, [text, terminal.table(text, rows=[[text]])]), sys.stdout, as_json=False)
terminal._print(terminal.Result({{"x": text}}, []), sys.stdout, as_json=True)
import typer
app = typer.Typer()
@app.command(cls=terminal.Command)
def command(as_json: bool = False):
    raise {{}}.get("", NgbError(text))
@app.callback()
def main(debug: bool = False): pass
app(["--debug", "command"])
"""


def test_no_control_character_of_a_name_reaches_a_terminal():
    """What stays are the sequences of the library that draws the line of progress."""
    seen = []

    def read(descriptor):
        raw = os.read(descriptor, 1 << 16)
        seen.append(raw)
        return raw

    old = os.dup(1)
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        pty.spawn([sys.executable, "-c", SAY], read, lambda descriptor: b"")
    finally:
        os.dup2(old, 1)
    text = b"".join(seen).decode()
    assert text.count("owned") > 7
    for sequence in ("\x1b]0", "\x07", "\u202e", "\u2066", "\u200b", "\x9b", "\u2028"):
        assert sequence not in text
    assert "\x1b[31m\u202e" not in text and f"{BOX}[31m{BOX}red" in text


def test_commands_print_through_one_module():
    """Only `cli/terminal.py` writes to a terminal; `--version` prints what is fixed."""
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {
            n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        guarded = [
            n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
        ]
        typing_only = {id(n) for block in guarded for n in ast.walk(block)}
        rich = [
            n for n in ast.walk(tree)
            if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("rich") and id(n) not in typing_only
        ]  # fmt: skip
        assert path.name in ("terminal.py", "__init__.py") or ("print" not in names and not rich), path
