"""Parsers of untrusted content: within their limits what the libraries read, beyond them a reason."""

import json
import os
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.errors import CorruptFileError, LayoutError, UnsafeFileError
from neurobench_grasp.formats import DEEPEST, parse_json, parse_yaml, read_plain
from neurobench_grasp.resources import resource

DEEP = f"it is nested more than {DEEPEST} levels deep"
ALIASES = "a: &a [x, x]\n" + "".join(f"b{k}: &b{k} [*{'a' if k == 0 else f'b{k - 1}'}]\n" for k in range(30))
BAD_JSON = {
    "[" * 100_000: DEEP,
    '{"a":' * 21 + "1" + "}" * 21: DEEP,
    '{"a": 1, "a": 2}': "'a' is there twice",
    "9" * 6000: "99999999999999999999… is too large a number",
    str(2**63): "9223372036854775808… is too large a number",
    "1e400": "1e400 is not a JSON number",
    "[NaN]": "NaN is not a JSON number",
    "-Infinity": "-Infinity is not a JSON number",
    '"\\ud800"': "'utf-8' codec can't encode character '\\ud800' in position 1: surrogates not allowed",
}
BAD_YAML = {
    ALIASES: "line 2: aliases are not supported",
    "[" * 100_000: DEEP,
    "- " * 60 + "x": DEEP,
    "a: 1\na: 2": "'a' is there twice",
    "a: " + "9" * 6000: "99999999999999999999… is too large a number",
    "a: 0x" + "f" * 60: "0xffffffffffffffffff… is too large a number",
    "a: " + "1:" * 3000 + "1": "1:1:1:1:1:1:1:1:1:1:… is too large a number",
    "x" * 300_000: "it has 300000 bytes, and at most 262144 are read",
    "!!map [1]": "cannot unpack non-iterable ScalarNode object",
    "a: 2001-99-99": "month must be in 1..12",
}


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        *((parse_json, *case) for case in BAD_JSON.items()),
        *((parse_yaml, *case) for case in BAD_YAML.items()),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_beyond_the_limits_is_refused_at_once_with_the_reason(parse, text, reason):
    started = time.monotonic()
    with pytest.raises(ValueError) as why:
        parse(text.encode())
    assert str(why.value) == reason and time.monotonic() - started < 2


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(values)
@settings(deadline=None)
def test_within_the_limits_it_is_what_the_library_reads(value):
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parse_json(text) == value
    raw = yaml.safe_dump(value).encode()
    assert parse_yaml(raw) == yaml.safe_load(raw)


@given(st.binary(max_size=60) | st.text('{}[]:,"-&*!?|>#%@`\\ \n01ae.', max_size=60).map(str.encode))
@settings(deadline=None)
def test_any_bytes_give_a_value_or_a_reason(raw):
    for parse in (parse_json, parse_yaml):
        try:
            parse(raw)
        except ValueError as why:
            assert str(why)


def test_every_shipped_file_is_within_the_limits():
    for folder in ("nwb_schemas", "registry/datasets"):
        for path in resource(folder).glob("*.yaml"):
            assert parse_yaml(path.read_bytes()) == yaml.safe_load(path.read_bytes())


def test_links_pipes_folders_and_large_files_are_not_read(tmp_path):
    secret, link, pipe = (tmp_path / name for name in ("secret", "link", "pipe"))
    secret.write_bytes(b"1234")
    link.symlink_to(secret)
    os.mkfifo(pipe)
    assert read_plain(secret, 4) == b"1234"
    for path in (link, pipe, tmp_path):
        with pytest.raises(
            UnsafeFileError, match=f"^{path.name} is a link, folder or device, so it was not read.$"
        ):
            read_plain(path, 4)
    with pytest.raises(UnsafeFileError, match=r"^secret has 4 bytes, and at most 3 are read.$"):
        read_plain(secret, 3)
    with pytest.raises(
        CorruptFileError, match=r"^absent cannot be read \(No such file or directory\); look.$"
    ):
        read_plain(tmp_path / "absent", 3, advice="look")


SLOW = ["(a+)+$", "(a|a)*$", "((a)?){40}", "(.*.*.*.*)x", "(a?a?a?a?)", "(x)(a+)+", "(?x)#[\n(a+)+$#]", r"(a)\1+\1+\1+\1+",
        "(" + "a" * 200 + ")", "(?P<n>a)", "(a", "a", "(a)(b)"]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_a_regular_expression_that_may_take_forever_is_refused(tmp_path, pattern):
    from neurobench_grasp.data.nwb.layout import load_layout

    text = (resource("nwb_schemas") / "falcon-m1.yaml").read_text()
    old = next(line for line in text.splitlines() if line.startswith("subject:"))
    path = tmp_path / "own.yaml"
    path.write_text(text.replace(old, f"subject: {json.dumps(pattern)}"))
    with pytest.raises(LayoutError) as why:
        load_layout(path)
    assert str(why.value) == (
        f"The layout file own.yaml is wrong at subject: {pattern!r:.60} is not a regular expression with one group that "
        "is not repeated, at most 3 repetitions and 100 characters."
    )


@given(st.text("a.*+?{}()[]|^$1,2:\\", max_size=30), st.sampled_from(["a" * 300, "ab" * 150, "1" * 300]))
@settings(deadline=None, max_examples=300)
def test_a_regular_expression_that_is_accepted_is_fast(pattern, name):
    from dataclasses import replace

    from neurobench_grasp.data.nwb.layout import _is_plain, load_layout

    if _is_plain(pattern):
        started = time.monotonic()
        assert replace(load_layout("falcon-m1"), subject=pattern).subject_in(name) is not None
        assert time.monotonic() - started < 2
