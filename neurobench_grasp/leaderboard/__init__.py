"""Records of scores, what produced them, and the tables made of them."""

from neurobench_grasp.leaderboard.records import (
    from_json,
    read_record,
    read_records,
    record_path,
    record_schema,
    to_json,
    write_record,
)
from neurobench_grasp.leaderboard.tables import BOARD, RANK_RULE, main_rows, ranking

__all__ = [
    "BOARD",
    "RANK_RULE",
    "from_json",
    "main_rows",
    "ranking",
    "read_record",
    "read_records",
    "record_path",
    "record_schema",
    "to_json",
    "write_record",
]
