"""The header that ``write_session`` writes into a file, so that damage to its content is detected.

It is stored twice: the digest as the file's ``identifier``, and all of it as JSON in the scratch space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from neurobench_grasp.contract import DEFAULT_BODY, Endpoint, Window
from neurobench_grasp.data.nwb.file import NwbFile
from neurobench_grasp.errors import CorruptFileError
from neurobench_grasp.formats import parse_json

CANONICAL = "ngb-grasp-1"
HEADER_NAME = "neurobench_grasp"
SYNTHETIC_LABEL = "synthetic, a self-test"


@dataclass(frozen=True)
class FileHeader:
    """Header of a canonical file.

    Parameters
    ----------
    layout : str
    digest : str
        :func:`~neurobench_grasp.data.session_digest` of the content.
    label : str
        ``synthetic, a self-test`` for generated sessions, else empty.
    licence : str
    window : Window
    joint_map : mapping of str to tuple
    body : str
        Left out of the JSON where it is the default, like in files that are older than this field.
    endpoint : Endpoint, optional
        Left out of the JSON where there is none.
    muscle_map : mapping of str to tuple of str
        Left out of the JSON where it is empty.
    """

    layout: str
    digest: str
    label: str
    licence: str
    window: Window
    joint_map: Mapping[str, tuple[str, float, float]]
    body: str = DEFAULT_BODY
    endpoint: Endpoint | None = None
    muscle_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the spikes were generated."""
        return self.label == SYNTHETIC_LABEL

    @property
    def identifier(self) -> str:
        """The file's identifier: the layout and the digest."""
        return f"{self.layout}:sha256:{self.digest}"

    def to_json(self) -> str:
        """Write the header as JSON."""
        content = asdict(self)
        if self.body == DEFAULT_BODY:
            del content["body"]
        if self.endpoint is None:
            del content["endpoint"]
        else:
            content["endpoint"] = self.endpoint.to_json()
        if not self.muscle_map:
            del content["muscle_map"]
        return json.dumps(content, sort_keys=True)


def read_header(nwb: NwbFile) -> FileHeader | None:
    """Read the header of a file, if it has one.

    Raises
    ------
    CorruptFileError
        If one of its two copies is missing or they differ.
    """
    identifier = nwb.text("identifier")
    text = nwb.text(f"scratch/{HEADER_NAME}")
    if not text and not identifier.startswith(f"{CANONICAL}:"):
        return None
    try:
        content = parse_json(text)
        window = content["window"] | {"signal_lags": tuple(content["window"]["signal_lags"])}
        joints = {column: tuple(joint) for column, joint in content["joint_map"].items()}
        muscles = {column: tuple(names) for column, names in content.get("muscle_map", {}).items()}
        made = {"window": Window(**window), "joint_map": joints, "endpoint": _endpoint(content)}
        made |= {"muscle_map": muscles}
        header = FileHeader(**content | made)
    except (ValueError, KeyError, TypeError, AttributeError):
        header = None
    if header is None or header.identifier != identifier or header.to_json() != text:
        raise CorruptFileError(
            f"{nwb.name} is damaged: its identifier and its header (scratch/{HEADER_NAME}) do not "
            "match; copy or download it again."
        )
    return header


def _endpoint(content: Mapping[str, Any]) -> Endpoint | None:
    found = content.get("endpoint")
    if found is None:
        return None
    origin = found["origin"] if found["origin"] is None else tuple(found["origin"])
    turn = None if found.get("turn") is None else tuple(map(tuple, found["turn"]))
    keypoints = {name: tuple(axes) for name, axes in found.get("keypoints", {}).items()}
    made = {"axes": tuple(found["axes"]), "origin": origin, "turn": turn, "keypoints": keypoints}
    return Endpoint(**found | made)
