"""Rankings and comparisons of records, and the board as a site."""

from neurobench_grasp.leaderboard.compare import comparison
from neurobench_grasp.leaderboard.standings import BOARD, RANK_RULE, rank_models, unit_scores_of

__all__ = ["BOARD", "RANK_RULE", "comparison", "rank_models", "unit_scores_of"]
