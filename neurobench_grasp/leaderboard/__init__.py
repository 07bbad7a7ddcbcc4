"""Records of scores, what produced them, and the tables made of them."""

from neurobench_grasp.leaderboard.compare import comparison
from neurobench_grasp.leaderboard.records import (
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
from neurobench_grasp.leaderboard.tables import BOARD, RANK_RULE, main_rows, ranking, unit_scores_of

__all__ = [
    "BOARD",
    "RANK_RULE",
    "Scored",
    "comparison",
    "from_json",
    "main_rows",
    "ranking",
    "read_record",
    "read_records",
    "read_scored",
    "record_path",
    "record_schema",
    "to_json",
    "unit_scores_of",
    "write_record",
]
