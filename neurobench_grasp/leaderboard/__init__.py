"""Rankings and comparisons of records, claims and their power, and the board as a site."""

from neurobench_grasp.leaderboard.claims import claims
from neurobench_grasp.leaderboard.compare import comparison
from neurobench_grasp.leaderboard.power import powers
from neurobench_grasp.leaderboard.standings import BOARD, RANK_RULE, rank_models, unit_scores_of

__all__ = ["BOARD", "RANK_RULE", "claims", "comparison", "powers", "rank_models", "unit_scores_of"]
