"""Score records: their schema, their rows, what produced them, and submissions."""

from neurobench_grasp.records.record import (
    Scored,
    from_json,
    read_record,
    read_records,
    read_scored,
    record_path,
    record_schema,
    to_json,
    write_record,
)

__all__ = [
    "Scored",
    "from_json",
    "read_record",
    "read_records",
    "read_scored",
    "record_path",
    "record_schema",
    "to_json",
    "write_record",
]
