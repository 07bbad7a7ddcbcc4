"""Bounded parsers of untrusted content: regular files, JSON and YAML.

Their errors are clauses that say what is wrong; callers add which file it is, and what to do.
Arrays are read by :class:`neurobench_grasp.records.archive.Archive` (npz) and
:func:`neurobench_grasp.controllers.files.read_arrays` (safetensors).
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobench_grasp.errors import CorruptFileError, UnsafeFileError

if TYPE_CHECKING:
    import yaml

MB = 1 << 20
DEEPEST = 20
"""Levels of nested lists and mappings, at most."""
LARGEST = 2**63
"""Bound on whole numbers."""
MOST_YAML = MB // 4


def read_plain(path: Path, most: int, *, advice: str = "put it back, or score again") -> bytes:
    """Read a regular file of moderate size; links are not followed.

    Parameters
    ----------
    path : path
    most : int
        Bytes, at most.
    advice : str
        What to do if it cannot be read.

    Raises
    ------
    UnsafeFileError
        If it is something else.
    CorruptFileError
        If it cannot be read.
    """
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError(f"{path.name or path} is a link, folder or device, so it was not read.")
        if found.st_size > most:
            raise UnsafeFileError(f"{path.name} has {found.st_size} bytes, and at most {most} are read.")
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path.name} cannot be read ({error.strerror}); {advice}.") from error


def parse_json(raw: bytes | str) -> Any:
    """Parse JSON of bounded depth and numbers, in which no field is there twice.

    Raises
    ------
    ValueError
        If it is something else.
    """
    text = raw if isinstance(raw, str) else raw.decode("utf-8")
    try:
        value = json.loads(
            text, object_pairs_hook=_fields, parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value, DEEPEST)
    _check_text(text, value)
    return value


def parse_yaml(raw: bytes) -> Any:
    """Parse YAML of bounded size, depth and numbers, without aliases and fields that are there twice.

    Raises
    ------
    ValueError
        If it is something else.
    """
    import yaml

    if len(raw) > MOST_YAML:
        raise ValueError(f"it has {len(raw)} bytes, and at most {MOST_YAML} are read")
    try:
        text = raw.decode("utf-8")
        value = yaml.load(text, _loader())
        _check_text(text, value)
    except (yaml.YAMLError, TypeError, AttributeError, LookupError) as error:  # of tags on other values
        raise ValueError(" ".join(str(error).split())) from error
    return value


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Bounded(yaml.SafeLoader):
        level = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise ValueError(f"line {self.peek_event().start_mark.line + 1}: aliases are not supported")  # type: ignore[no-untyped-call]
            self.level += 1
            if self.level > DEEPEST:
                raise _too_deep()
            node = super().compose_node(parent, index)
            self.level -= 1
            return node

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        _refuse_twice(keys)
        return loader.construct_mapping(node, deep=True)

    def whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
        return _whole(node.value, lambda text: loader.construct_yaml_int(node))

    Bounded.add_constructor("tag:yaml.org,2002:map", mapping)
    Bounded.add_constructor("tag:yaml.org,2002:int", whole)
    return Bounded


def _fields(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        _refuse_twice(name for name, _ in items)
    return found


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name!r:.60} is there twice")
        seen.add(name)


def _whole(text: str, convert: Any = int) -> int:
    number: int = convert(text) if len(text) <= 80 else LARGEST
    if abs(number) >= LARGEST:
        raise ValueError(f"{text:.20}… is too large a number")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is not a JSON number")
    return number


def _check_text(text: str, value: Any) -> None:
    """Refuse halves of surrogate pairs, which cannot be written as UTF-8."""
    if re.search(r"\\u[dD][89a-fA-F]", text):
        json.dumps(value, ensure_ascii=False, default=str).encode()


def _check_depth(value: Any, levels: int) -> None:
    if isinstance(value, dict | list):
        if levels == 0:
            raise _too_deep()
        for inside in value.values() if isinstance(value, dict) else value:
            if isinstance(inside, dict | list):
                _check_depth(inside, levels - 1)


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {DEEPEST} levels deep")
