"""The site in a real browser."""

import json
import re
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from neurobench_grasp.leaderboard.site.format import slug

BAD_DATASET = 'z<script>window.hurt=1;alert("x")</script>/../../x'
KINDS = (
    "index.html", "self-tests.html", "models/muscle.html", f"models/{slug('evil..-model')}.html",
    "pairs/muscle--torque.html", "datasets/data.html", f"datasets/{slug(BAD_DATASET)}.html", "protocols/encoding.html",
)  # fmt: skip


@pytest.fixture(params=["file", "http"])
def base(request, site):
    return site.as_uri() + "/" if request.param == "file" else request.getfixturevalue("served")


def models(page, table=0):
    """Names in a board, those that are shown, from above."""
    rows = page.locator("table.board").nth(table).locator("tbody tr:not([hidden]) th")
    return rows.evaluate_all("cells => cells.map(cell => cell.dataset.v)")


def header(page, column, table=0):
    return page.locator("table.board").nth(table).locator(f"[data-col='{column}']")


def test_headers_sort_both_ways_and_what_is_missing_stays_last(opened, board):
    it = opened()
    page = it.go("index.html")
    by_rank = models(page)
    assert header(page, 0).get_attribute("aria-sort") == "ascending"
    header(page, 5).locator("button").click()  # gain over linear
    assert header(page, 5).get_attribute("aria-sort") == "descending"
    assert header(page, 0).get_attribute("aria-sort") is None
    gains = {
        name: m["scores"]["gain_over_linear_kinematic"]["value"]
        for name, m in board["encoding", "M1", "data"].items()
    }
    known = sorted((name for name, gain in gains.items() if gain is not None), key=lambda name: -gains[name])
    missing = [name for name in by_rank if gains[name] is None]
    assert header(page, 5).inner_text().startswith("linear")
    assert missing and models(page) == known + missing
    header(page, 5).locator("button").click()
    assert header(page, 5).get_attribute("aria-sort") == "ascending"
    assert models(page) == known[::-1] + missing
    header(page, 1).locator("button").click()
    assert models(page) == sorted(by_rank)
    header(page, 0).locator("button").click()
    assert models(page) == by_rank and not it.messages and not it.outside


def test_filters_hide_models_and_tell_how_many_are_left(opened):
    it = opened()
    page = it.go("index.html")
    n = len({name for k in range(page.locator("table.board").count()) for name in models(page, k)})
    count = page.locator("[role=status]")
    assert count.inner_text() == f"{n} of {n} models shown"
    page.get_by_label("Model", exact=True).fill("MUS")
    assert count.inner_text() == f"1 of {n} models shown" and models(page) == ["muscle"]
    page.get_by_label("Model", exact=True).fill("")
    page.get_by_label("Verified").select_option("re-scored or better")
    assert models(page) == ["muscle"]
    page.get_by_label("Verified").select_option("any")
    assert "greedy" in models(page)
    page.get_by_label("hide contaminated").check()
    assert "greedy" not in models(page) and count.inner_text() == f"{n - 1} of {n} models shown"
    page.get_by_label("Model", exact=True).fill("nothing is called so")
    assert models(page) == [] and count.inner_text() == f"0 of {n} models shown"
    assert not it.messages


def boards(page):
    """Names of the boards that are shown, from above."""
    return page.locator("table.board:visible caption strong").all_inner_texts()


def test_boards_are_filtered_by_dataset_area_body_and_protocol_and_models_by_action(opened):
    it = opened()
    page = it.go("index.html")
    every = boards(page)
    assert {"M1", "S1", "Movement"} <= set(every)
    for label, value, left in (
        ("area", "S1", ["S1"]),
        ("dataset", "data", ["M1", "Movement"]),
        ("body", "planar_arm", ["S1"]),
        ("protocol", "tracking", ["Movement"]),
    ):
        page.locator(f"select[name={label}]").select_option(value)
        assert boards(page) == left, label
        headings = page.locator("main > section:visible h2").all_inner_texts()
        assert headings[1:] == ["Data", "How to cite"]  # below that of one dataset
        page.locator(f"select[name={label}]").select_option("any")
        assert boards(page) == every
    page.locator("select[name=action]").select_option("39 muscles")
    assert set(models(page)) == {"muscle", "greedy"} and not it.messages


def test_the_view_is_in_the_address_and_a_link_shows_it_again(opened, base):
    it = opened(base)
    page = it.go("index.html")
    assert urlsplit(page.url).query == ""
    page.get_by_label("Model", exact=True).fill("u")
    page.locator("select[name=dataset]").select_option("data")
    page.get_by_label("hide contaminated").check()
    header(page, 1).locator("button").click()
    header(page, 1).locator("button").click()
    shown, address = models(page), page.url
    assert shown == ["torque", "muscle"] and "sort=board-" in address
    again = opened(base).page
    again.goto(address)
    assert models(again) == shown and boards(again) == ["M1", "Movement"]
    assert again.get_by_label("Model", exact=True).input_value() == "u"
    assert header(again, 1).get_attribute("aria-sort") == "descending"
    again.get_by_label("Model", exact=True).fill("")
    assert "q=" not in again.url and "dataset=data" in again.url


def test_an_address_that_is_not_a_view_shows_everything(opened):
    it = opened()
    every = boards(it.go("index.html"))
    page = it.go("index.html?dataset=nowhere&area=%3Cscript%3E&level=9&clean=2&sort=..&sort=x.y.z&q=")
    assert boards(page) == every and not it.messages
    assert (
        page.locator("[role=status]").inner_text().split()[0]
        == page.locator("[role=status]").inner_text().split()[2]
    )


def test_points_link_to_rows_and_names_to_pages_and_both_are_marked_and_filtered_together(opened):
    it = opened(reduced_motion="reduce")  # the pointer stays where it is
    page = it.go("index.html")
    plot = page.locator("figure.scatter").first
    points = plot.locator("a:has(circle)")
    assert points.count() == 2
    page.locator("table.board").first.locator("tbody th", has_text="muscle").hover()
    near = plot.locator("a.near").evaluate_all("found => [...new Set(found.map(a => a.dataset.row))]")
    assert len(near) == 1 and near[0].endswith("-muscle")
    points.nth(1).locator("circle").hover()
    assert page.wait_for_selector("tr.near").get_attribute("id") == points.nth(1).get_attribute("data-row")
    page.get_by_label("Model", exact=True).fill("torque")
    assert plot.locator("a:visible:has(circle)").evaluate_all(
        "p => p.map(a => a.dataset.row.split('-').pop())"
    ) == ["torque"]
    page.get_by_label("Model", exact=True).fill("")
    points.nth(1).locator("circle").click()
    assert page.evaluate("document.querySelector('tr:target').id") == points.nth(1).get_attribute("data-row")
    plot.locator("a:has(text)", has_text="muscle").click()
    assert page.locator("h1").inner_text() == "muscle" and not it.messages


def test_all_can_be_done_with_the_keyboard_and_focus_is_seen(opened):
    it = opened()
    page = it.go("index.html")
    page.keyboard.press("Tab")
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.textContent") == "Skip to content"
    assert page.evaluate(f"{focused}.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"
    for _ in range(40):
        page.keyboard.press("Tab")
        style = page.evaluate(f"(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle({focused}))")
        assert style[0] != "none" and style[1] != "0px", page.evaluate(f"{focused}.outerHTML")
        if page.evaluate(f"{focused}.closest('[data-col]')?.dataset.col") == "2":
            break
    before = models(page)
    page.keyboard.press("Enter")
    assert header(page, 2).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert header(page, 2).get_attribute("aria-sort") == "ascending"
    assert models(page) != before
    assert page.evaluate(f"{focused}.closest('[data-col]').dataset.col") == "2"  # focus stays


@pytest.mark.parametrize(
    ("base", "name"), [*(("file", name) for name in KINDS), ("http", KINDS[0])], indirect=["base"]
)
def test_pages_load_nothing_from_elsewhere_and_report_no_error(opened, base, name):
    it = opened(base)
    page = it.go(name)
    page.wait_for_load_state("load")
    unexpected = [line for line in it.messages if "muscle-trial" not in line]  # no real video
    assert not unexpected and not it.outside
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.querySelectorAll('a[href]')].length") > 4


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        pytest.param(name, scheme, marks=() if (name == KINDS[0] or k % 4 == 2) else pytest.mark.slow)
        for k, (name, scheme) in enumerate(product(KINDS, ("light", "dark")))
    ],
)
def test_the_automated_check_of_accessibility_finds_nothing_serious(opened, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(color_scheme=scheme, bypass_csp=True).go(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page).response["violations"]
    grave = [
        (v["id"], [n["html"][:200] for n in v["nodes"]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not grave, json.dumps(grave, indent=1)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 26)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("name", KINDS)
def test_a_narrow_screen_never_scrolls_sideways(opened, name):
    page = opened(width=360, height=740).go(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("(scrollTo(500, 0), scrollX)") == 0


def test_the_name_of_a_dataset_without_end_is_broken_into_lines_in_the_list_of_datasets(opened):
    page = opened(width=360, height=740).go("index.html")
    page.evaluate("document.querySelector('.toc a').textContent = 'd'.repeat(3000)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_a_narrow_screen_the_names_stay_when_a_table_is_scrolled(opened):
    page = opened(width=360, height=740).go("index.html")
    page.evaluate("document.querySelector('.scroll.wide').scrollLeft = 400")
    place = page.evaluate("document.querySelector('.scroll.wide').scrollLeft")
    left = page.evaluate("document.querySelector('.board tbody th').getBoundingClientRect().left")
    assert place > 200 and 0 <= left <= 20


def test_on_a_wide_screen_the_headers_stay(opened):
    page = opened(width=1600, height=400).go("index.html")
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.evaluate("document.querySelector('.board tbody tr:nth-child(3)').scrollIntoView({block: 'start'})")
    assert 0 <= page.evaluate("document.querySelector('.board thead').getBoundingClientRect().top") < 5


def test_the_chosen_theme_is_kept_and_there_before_anything_is_drawn(opened, base):
    it = opened(base, color_scheme="light")
    page = it.go("index.html")
    page.get_by_role("button", name="Dark theme").click()
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(21, 24, 26)"
    page.add_init_script(
        "document.addEventListener('readystatechange', () => window.first ??= document.documentElement.dataset.theme)"
    )
    page.goto(it.base + "models/muscle.html")
    assert page.evaluate("window.first") == "dark" and page.evaluate(paper) == "rgb(21, 24, 26)"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(paper) == "rgb(253, 253, 251)"


def test_without_scripts_the_ranking_is_all_there(opened, board):
    page = opened(java_script_enabled=False).go("index.html")
    rows = page.locator("table.board").first.locator("tbody tr")
    assert [rows.nth(k).locator("th").inner_text().split()[0] for k in range(rows.count())] == list(
        board["encoding", "M1", "data"]
    )
    assert page.locator("#filter").is_hidden() and page.locator("#theme").is_hidden()
    assert page.locator("table.board button").count() == 0


def test_hostile_records_do_no_harm(opened, site):
    it = opened()
    for path in sorted(site.rglob("*.html")):
        page = it.go(path.relative_to(site).as_posix())
        assert page.evaluate("window.hurt") is None
        assert page.locator("script:not([src])").count() == page.locator("[onerror], [onload]").count() == 0
        assert page.locator("script").evaluate_all(
            "s => s.map(x => x.getAttribute('src').split('/').pop())"
        ) == ["theme.js", "board.js"]
    assert not [line for line in it.messages if "dialog" in line or "window.hurt" in line]
    evil = it.go(f"models/{slug('evil..-model')}.html")
    assert evil.get_by_text('<script>window.hurt=1;alert("x")</script>').count() > 3
    assert "\u202e" not in evil.content()


def test_the_policy_stops_scripts_that_are_not_the_sites_own(opened, base):
    it = opened(base)
    page = it.go("index.html")
    page.evaluate("""() => {
        const script = document.createElement('script'); script.textContent = 'window.hurt = 1';
        document.body.append(script);
        const image = document.createElement('img'); image.src = 'https://example.org/x.png'; document.body.append(image);
    }""")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hurt") is None
    assert any("Content Security Policy" in line for line in it.messages)


def test_numbers_and_ties_on_the_page_are_those_of_the_board(opened, board, site):
    page = opened().go("index.html")
    rows = page.locator("table.board").first.locator("tbody tr")
    for k, (name, model) in enumerate(board["encoding", "M1", "data"].items()):
        cells = rows.nth(k).locator("td").all_inner_texts()
        value, ci = (model["scores"]["single_trial_ev_ood"][key] for key in ("value", "ci"))
        text = cells[1].replace("−", "-")
        assert float(text.split()[0]) == pytest.approx(value, abs=5e-4), name
        if ci:
            assert [float(n) for n in re.findall(r"-?\d\.\d+", text)[1:]] == pytest.approx(ci, abs=5e-4)
        if model["rank"] is None:
            assert cells[0] == "–"
        else:
            same = model["rank"] == model["rank_worst"]
            assert cells[0].split()[0] == (
                str(model["rank"]) if same else f"{model['rank']}–{model['rank_worst']}"
            )
            assert model["ties"] in cells[0].replace(" ", "")
    ranks = {m["model"]: (m["rank"], m["rank_worst"]) for m in board["encoding", "M1", "data"].values()}
    assert ranks["muscle"] == ranks["torque"] == (1, 2)
    one = json.loads(next(site.glob("records/linear_kinematic-*json")).read_text())
    row = next(
        r
        for r in one["scores"]
        if r["metric"] == "single_trial_ev"
        and r["split"] == "ood"
        and "reference" not in r
        and "layer" not in r
    )
    assert (
        f"{row['value']:.3f}"
        in page.locator("tr", has=page.locator("[data-v='linear_kinematic']")).all_inner_texts()[
            0 if row["area"] == "M1" else 1
        ]
    )


def test_pointing_at_a_model_marks_those_that_tie_with_it(opened):
    page = opened().go("index.html")
    page.locator("table.board").first.locator("tbody th", has_text="muscle").hover()
    marked = page.locator("tr.tied th").evaluate_all("cells => cells.map(cell => cell.dataset.v)")
    assert marked == ["torque"]


def test_motion_is_reduced_for_whoever_asks_and_print_leaves_out_what_is_no_use(opened):
    assert (
        opened(reduced_motion="reduce")
        .go("index.html")
        .evaluate("getComputedStyle(document.documentElement).scrollBehavior")
        == "auto"
    )
    page = opened().go("index.html")
    page.emulate_media(media="print")
    assert page.locator("#filter").is_hidden() and page.locator(".top").is_hidden()
    assert page.locator("table.board").first.is_visible()


def test_links_within_the_site_lead_somewhere(opened, site):
    it = opened()
    for path in sorted(site.rglob("*.html")):
        page = it.go(path.relative_to(site).as_posix())
        for address in page.evaluate(
            "[...document.querySelectorAll('a[href], [src]')]"
            ".map(a => new URL(a.getAttribute('href') ?? a.getAttribute('src'), location).href)"
        ):
            if address.startswith("file:"):
                place, fragment = unquote(urlsplit(address).path), urlsplit(address).fragment
                text = Path(place).read_text(encoding="utf-8", errors="replace")
                assert not fragment or f'id="{fragment}"' in text, address
