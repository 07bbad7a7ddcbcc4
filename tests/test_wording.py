"""Prose and messages use plain technical English: a search for phrases of a private dialect."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SEARCHED = (
    "neurobench_grasp",
    "plugins",
    "docs",
    "benchmarks",
    "nwb_schemas",
    "packaging",
    "tests",
    "registry/README.md",
    "registry/datasets",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
)
SUFFIXES = {".py", ".md", ".yaml", ".json", ".toml", ".html", ".jinja", ".css", ".js", ""}

FORBIDDEN = {
    r'"""(Give|Tell|Say)s?\b': "open a docstring with Return, Report … or a noun phrase",
    r"\btold\b": "report, call with",
    r"\btells? (of|that|whether|which|how|what|the|a|it|them|apart)\b": "report, show, distinguish",
    r"\bof (its|one's) own\b|\bof their own\b": "separate, own",
    r"\bin words\b": "as text",
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bstrangers?\b": "untrusted",
    r"\bwhoever\b|\bnobody\b|\bsomebody\b": "name the actor",
    r"\b(cannot|not to) be had\b|\bnot_had\b": "not available, unsupported",
    r"\bwhole or not\b": "atomically",
    r"\bleads? nowhere\b|\bin a circle\b": "request failed, too many redirects",
    r"\bsound answer\b|\bsound way\b|\bhand(s|ed)? back\b|\bnonsense\b": "invalid response, return",
    r"\bsigns (that|which) (would )?(steer|turn)": "control characters",
    r"\blook(s|ed|ing)? (at|into|over)\b|\blook whether\b|\blook to the\b": "inspect, scan, check",
    r"\b(crew|patience|glance[ds]?|peek(s|ed)?|puppet|conduct|fences|wholeness|tripwire|crooked|stamps?)\b": "the term",
    r"\bhands? that (decoded )?spikes drive\b": "brain-controlled hand",
    r"\bthose who run\b": "the archive, the server's operators",
    r"\bwhat it had learned\b|\bwhat (was|the model had) learned\b": "fitted state",
    r"\btakes? the place of\b": "replaces",
    r"\btake(s|n)? back what\b": "load",
}
"""Pattern of a phrase → what to write instead."""


def findings(files, root):
    """Every forbidden phrase as ``file:line: phrase (what to write instead)``."""
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for pattern, instead in FORBIDDEN.items():
                if found := re.search(pattern, line, 0 if pattern.startswith('"""') else re.IGNORECASE):
                    yield f"{path.relative_to(root)}:{number}: {found[0]!r} ({instead})"


def searched_files():
    for place in (ROOT / name for name in SEARCHED):
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in SUFFIXES and path.is_file() and path != Path(__file__):
                yield path


def test_no_forbidden_phrase_is_used():
    found = list(findings(searched_files(), ROOT))
    assert not found, f"{len(found)} phrases:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        '    """Give the number of the bin."""',
        "Told in words what is being done.",
        "# in a process of its own",
        '    raise NgbError("cannot be had; look to the network connection")',
        "text without signs that would steer a terminal",
    ],
)
def test_a_planted_phrase_is_found(tmp_path, line):
    planted = tmp_path / "planted.py"
    planted.write_text(f"x = 1\n{line}\n")
    (first, *_) = findings([planted], tmp_path)
    assert first.startswith("planted.py:2: ")


def test_plain_text_passes(tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text('"""Return the index of the bin that contains each time."""\n')
    assert list(findings([plain], tmp_path)) == []
