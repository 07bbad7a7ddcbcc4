"""Scatter plots of explained variance against errors."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from planted_board import BAD

from neurobench_grasp.leaderboard.site.draw import MOST_NAMES, Dot, Scale, scatter

POSITIVE = st.floats(1e-300, 1e300)


def dot(name, error, score, **changes):
    intervals = {"x_ci": None, "y_ci": None, **changes}
    return Dot(
        name, error, score, row=f"#row-{error}", page=f"{error}.html", about=f"{name}: {score}", **intervals
    )


def circles(svg):
    return {
        name: (float(x), float(y))
        for name, x, y in re.findall(r'<a href="#row-([^"]+)".*?<circle[^>]*cx="([^"]+)" cy="([^"]+)"', svg)
    }


def test_better_models_are_further_up_and_to_the_left_and_lines_are_at_their_scores(site, board):
    page = (site / "index.html").read_text()
    plot = next(p for p in page.split("<figure")[1:] if "against tracking error" in p).split("</figure>")[0]
    places = dict(re.findall(r'href="#board-\w+-(\w+)".*?<circle[^>]*?(cx="[^"]+" cy="[^"]+")', plot))
    assert places.keys() == {"muscle", "torque"}  # which move a body and predict units
    (x1, y1), (x2, y2) = (map(float, re.findall(r'"([^"]+)"', places[m])) for m in ("muscle", "torque"))
    scores = {m: row["scores"] for m, row in board["encoding", "M1", "data"].items()}
    errors, evs = (
        [scores[m][key]["value"] for m in ("muscle", "torque")]
        for key in ("tracking_error_ood", "single_trial_ev_ood")
    )
    assert errors[0] < errors[1] and evs[0] > evs[1] and x1 < x2 and y1 < y2
    above = {
        float(y): name for y, name in re.findall(r'<text class="tick" x="\S+" y="(\S+)">(.*?)</text>', plot)
    }
    (ceiling,) = above
    assert above[ceiling] == "noise ceiling" and ceiling - 4 < y1  # 0.6 is above 0.42
    assert plot.count('class="ref"') == 1 and "few" in plot.split("Not drawn")[1]


@given(st.dictionaries(POSITIVE, st.floats(-1e9, 1), min_size=1, max_size=20), st.floats(0, 1))
@example({1.0: 3e-111}, 0.0)
def test_every_model_is_drawn_within_the_frame_whatever_its_numbers(models, ceiling):
    svg = scatter("all", [dot("m", e, s) for e, s in models.items()], {"ceiling": ceiling}, "error", "EV")
    found = circles(svg)
    assert found.keys() == set(map(str, models))
    assert all(46 <= x <= 342 and 26 <= y <= 210 for x, y in found.values())
    ordered = [found[str(error)][0] for error in sorted(models)]
    assert ordered == sorted(ordered)


def test_a_perfect_error_of_zero_is_at_the_left_end():
    found = circles(scatter("both", [dot("a", 0.0, 0.1), dot("b", 4.0, 0.2)], {}, "error", "EV"))
    assert found["0.0"][0] == 46 < found["4.0"][0]


@given(st.lists(POSITIVE, min_size=1, max_size=9))
def test_logarithmic_ticks_are_round_few_and_cover_four_decades_at_most(numbers):
    scale = Scale.decades(numbers, 0, 100)
    assert scale.low < scale.high and len(scale.ticks) <= 16
    assert scale.high >= max(numbers) * (1 - 1e-9) and scale.low <= max(min(numbers), max(numbers) / 1e4) * (
        1 + 1e-9
    )
    assert all(round(t / 10 ** math.floor(math.log10(t) + 1e-9), 6) in (1, 2, 5) for t in scale.ticks)


def test_names_and_intervals_are_drawn_escaped_and_the_number_of_names_is_bounded():
    dots = [dot(BAD, k + 1.0, k / 100, x_ci=(k + 0.5, k + 2.0), y_ci=(0.0, 0.5)) for k in range(40)]
    svg = scatter(BAD, dots, {BAD: 0.4}, BAD, BAD)
    assert "<script" not in svg and svg.count(" bar") == 40 and svg.count("<circle") == 40
    assert 0 < svg.count("s1 name") <= MOST_NAMES


@pytest.mark.parametrize("n", [1, 5])
def test_names_never_cover_each_other_or_a_dot(n):
    svg = scatter(
        "all", [dot("same_place", 2.0 + k / 1e6, 0.2) for k in range(n)], {"line": 0.2}, "error", "EV"
    )
    places = [tuple(map(float, p)) for p in re.findall(r's1 name" x="(\S+)" y="(\S+)"', svg)]
    assert places and len(set(places)) == len(places)
    assert all(
        abs(y1 - y2) >= 12 or abs(x1 - x2) >= 60
        for x1, y1 in places
        for x2, y2 in places
        if (x1, y1) != (x2, y2)
    )
