"""The board as a static site: pages, data files and records in a folder, for any web server or none."""

from neurobench_grasp.leaderboard.site.build import Facts, Site, build_site
from neurobench_grasp.leaderboard.site.folder import check_folder
from neurobench_grasp.leaderboard.site.logo import read_logo

__all__ = ["Facts", "Site", "build_site", "check_folder", "read_logo"]
