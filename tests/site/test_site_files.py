"""The files of a site: the same for the same records, written atomically, harmless to open."""

import csv
import dataclasses
import errno
import functools
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from compared import scored, steady, write
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from planted_board import BAD, FACTS, hand, whole
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard import RANK_RULE, rank_models, unit_scores_of
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.leaderboard.site import Facts, build_site
from neurobench_grasp.leaderboard.site.build import _commands, letters
from neurobench_grasp.leaderboard.site.entries import read_entries
from neurobench_grasp.leaderboard.site.format import networks, slug
from neurobench_grasp.records import read_scored
from neurobench_grasp.records.units import Labels
from neurobench_grasp.text import cell, clean


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def table(raw):
    return list(csv.DictReader(io.StringIO(raw.decode())))


def test_the_same_records_give_the_same_bytes_in_whatever_order_they_are_found(runs, site, tmp_path):
    records = sorted((runs / "records").glob("*.json"))
    for k, path in enumerate(records):
        to = tmp_path / str(k % 3) / "records"
        to.mkdir(parents=True, exist_ok=True)
        for file in (path, path.with_suffix(".units.npz")):
            if file.exists():
                shutil.copyfile(file, to / file.name)
    for film in runs.glob("muscle-*"):
        shutil.copyfile(film, tmp_path / "1" / film.name)
    folders = [tmp_path / str(k) for k in range(3)]
    with_muscle = [f for f in folders if list((f / "records").glob("muscle-*"))]
    assert with_muscle
    for order in (folders, [*folders[::-1], runs]):
        assert content(build_site(order, tmp_path / "site", FACTS).index.parent) == content(site)


def test_board_files_are_the_ranking_and_tell_the_same(runs, site, board):
    assert json.loads((site / "board.json").read_text())["rule"] == RANK_RULE
    known = rank_models(read_scored([runs], unit_scores_of())[0])
    for row in known:
        found = board["encoding", row["area"], row["dataset"]][row["model"]]
        assert [found[k] for k in ("rank", "rank_worst", "ties")] == [
            row["rank"],
            row["rank_worst"],
            row["ties"] or "",
        ]
        assert found["scores"]["single_trial_ev_ood"]["value"] == pytest.approx(row["value"], rel=1e-9)
    lines = table((site / "board.csv").read_bytes())
    assert len(lines) == sum(map(len, board.values())) > len(known)
    for line in lines:
        area, dataset, model = (line[k].removeprefix("'") for k in ("area", "dataset", "model"))
        for key, score in board[line["kind"], area, dataset][model]["scores"].items():
            assert line[key] == ("" if score["value"] is None else repr(score["value"]))
            assert line[f"{key}_ci_low"] == ("" if score["ci"] is None else repr(score["ci"][0]))


def test_every_number_of_every_record_is_in_one_table_and_the_records_are_there_as_they_were(runs, site):
    lines = table((site / "scores.csv").read_bytes())
    records = {path.name: json.loads(path.read_text()) for path in (runs / "records").glob("*.json")}
    assert len(lines) == sum(len(record["scores"]) for record in records.values())
    by_record = {}
    for line in lines:
        by_record.setdefault(line["record"], []).append(line)
    for name, mine in by_record.items():
        for line, row in zip(mine, records[name]["scores"], strict=True):
            assert line["value"] == ("" if row["value"] is None else repr(row["value"]))
        assert (site / "records" / name).read_bytes() == (runs / "records" / name).read_bytes()
    units = table((site / "units.csv").read_bytes())
    muscle = [u for u in units if (u["model"], u["dataset"], u["area"]) == ("muscle", "data", "M1")]
    assert len(muscle) == 10 and any(u["unit"].startswith("<script>") for u in units)


def test_gains_are_paired_and_contamination_and_verification_are_told(board):
    models = board["encoding", "M1", "data"]
    gain = models["muscle"]["scores"]["gain_over_untrained"]
    assert gain["value"] == pytest.approx(0.05, abs=1e-6)
    assert gain["ci"] is None  # of two networks
    assert models["muscle"]["scores"]["gain_over_linear_kinematic"]["value"] == pytest.approx(0.22, abs=1e-6)
    assert models["linear_kinematic"]["scores"]["gain_over_linear_kinematic"]["value"] is None
    assert {name for name, m in models.items() if m["contaminated"]} == {"greedy"}
    assert {name for name, m in models.items() if m["verification"] != "self-reported"} == {"muscle"}
    assert models["muscle"]["seeds"] == [0, 1]
    assert models["muscle"]["scores"]["tracking_error_ood"]["value"] == pytest.approx(4.2)
    assert models["few"]["rank"] is None and models["few"]["reason"] == "too few conditions"
    assert (
        board["hand", "", "data"]["muscle"]["rank"] == 1 and board["hand", "", "data"]["torque"]["rank"] == 2
    )


def test_a_mean_over_other_networks_than_those_of_its_row_is_marked(tmp_path):
    entries = [*(whole("m", 0.4, seed=k) for k in (0, 1, 2, 7)), whole("n", 0.3), hand("n", 5.0)]
    entries += [hand("m", 4.0, seed=k) for k in (0, 1)]
    write(tmp_path / "x", *entries)
    site = build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.parent
    boards = json.loads((site / "board.json").read_text())["boards"]
    scores = {(b["kind"], m["model"]): m["scores"] for b in boards for m in b["models"]}
    marked = {key: [k for k, score in found.items() if "seeds" in score] for key, found in scores.items()}
    errors = ["brain_control_error_ood", "tracking_error_ood"]
    assert marked == {("encoding", "m"): errors, ("encoding", "n"): [], ("hand", "m"): [], ("hand", "n"): []}
    assert scores["encoding", "m"]["tracking_error_ood"]["seeds"] == [0, 1]
    (line,) = [r for r in table((site / "board.csv").read_bytes()) if r["model"] == "m" and r["area"]]
    assert json.loads(line["other_networks"]) == {key: [0, 1] for key in errors}
    page = (site / "index.html").read_text()
    assert page.count('<small class="other">networks 0–1</small>') == 2 and page.count("<li>† ") == 1


def test_only_a_model_that_has_networks_is_said_to_have_one(tmp_path):
    unseeded = {**CARD_OF, "parameters": 0}
    write(tmp_path / "x", whole("fixed", 0.4, card=unseeded), whole("net", 0.3, card=CARD_OF))
    page = build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.read_text()
    assert "<li>net: one network, so intervals" in page
    shown = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "x")])
    assert "\nnet: one network, so intervals" in shown.stdout


@pytest.mark.parametrize(
    ("seeds", "name"),
    [([3], "network 3"), ([2, 0, 1, 5], "networks 0–2, 5"), ([0, 2, 4, 6], "4 networks")],
)
def test_networks_are_named_by_runs_of_seeds_and_counted_if_there_are_many(seeds, name):
    assert networks(seeds) == name


def test_two_models_are_side_by_side_with_their_paired_difference(site, runs):
    page = (site / "pairs/linear_kinematic--muscle.html").read_text()
    scored = {(s.record.model, s.record.seed): s for s in read_scored([runs], unit_scores_of())[0]
              if s.record.protocol["name"] == "encoding" and s.record.dataset["id"] == "data"}  # fmt: skip
    labels = Labels("M1", "ood", "single_trial_ev", "")
    muscle, linear = (
        [s.units.scores[labels] for (name, _), s in scored.items() if name == model]
        for model in ("muscle", "linear_kinematic")
    )
    found = difference(muscle, linear)
    assert (
        f"muscle minus linear_kinematic, paired: {found.value:.3f} [{found.ci[0]:.3f}, {found.ci[1]:.3f}]"
        in page
    )
    assert "muscle is better" in page and page.count("<h2 ") == 3  # data, other, cards
    tie = (site / "pairs/muscle--torque.html").read_text()
    assert "They tie." in tie and "muscle is better. Tracking error" in tie
    assert "4.20 [4.19, 4.21] (network 0)" in tie  # its row is of two networks
    assert "no interval, so they are not compared" in (site / "pairs/few--muscle.html").read_text()


def test_the_page_of_a_session_has_the_scores_of_its_units_model_by_model(site):
    (path,) = [
        p
        for p in (site / "sessions").iterdir()
        if '>M1</a> on <a href="../datasets/data.html' in p.read_text()
    ]
    page = path.read_text()
    head, body = page.split("<thead>")[1].split("</thead>")
    names = re.findall(r'<th scope="col">(.*?)</th>', head)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:]]
    assert names == ["unit", "muscle", "torque", "greedy", "linear_kinematic", "few"] and len(rows) == 10
    units = [
        u for u in table((site / "units.csv").read_bytes()) if (u["dataset"], u["area"]) == ("data", "M1")
    ]
    known = {(u["unit"], u["model"]): float(u["single_trial_ev_ood"]) for u in units}
    for unit, *cells in rows:
        for model, shown in zip(names[1:], cells, strict=True):
            value = known.get((unit, model))
            assert shown == ("–" if value is None else f"{value:.3f}")
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert f'href="sessions/{path.name}"' in (site / "index.html").read_text()


def test_pages_of_sessions_are_bounded_in_number_units_and_models(tmp_path, monkeypatch):
    entries = [whole(f"m{k}", 0.1 * k) for k in range(1, 4)]
    for entry in entries:
        entry.units.scores.update(
            {key: tuple(dataclasses.replace(p, session=f"s{k}") for p in parts for k in range(3))
             for key, parts in entry.units.scores.items()}
        )  # fmt: skip
    write(tmp_path / "x", *entries)
    monkeypatch.setattr("neurobench_grasp.leaderboard.site.boards.MOST_UNITWISE", 2)
    monkeypatch.setattr("neurobench_grasp.leaderboard.site.session_page.MOST_SESSIONS", 2)
    monkeypatch.setattr("neurobench_grasp.leaderboard.site.session_page.MOST_ROWS", 4)
    site = build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.parent
    pages = [path.read_text() for path in sorted((site / "sessions").iterdir())]
    assert len(pages) == 2
    for page in pages:
        assert "the first 4 of 10" in page and page.count('<th scope="row">') == 4
        assert "of 3 on the board" in page and "m1" not in page.split("<thead>")[1]


def test_pages_of_pairs_are_those_of_the_first_models_and_no_more(tmp_path, monkeypatch):
    write(tmp_path / "x", *(whole(f"m{k}", 0.1 * k) for k in range(1, 6)))
    found = []
    for most, pages in ((3, 20), (9, 4)):
        monkeypatch.setattr("neurobench_grasp.leaderboard.site.boards.MOST_COMPARED", most)
        monkeypatch.setattr("neurobench_grasp.leaderboard.site.pair_page.MOST_PAIRS", pages)
        site = build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.parent
        found.append([path.stem for path in sorted((site / "pairs").iterdir())])
    assert found[0] == ["m3--m4", "m3--m5", "m4--m5"] and len(found[1]) == 4
    page = (site / "models/m5.html").read_text()
    assert page.count('href="../pairs/') == sum("m5" in name for name in found[1])


def test_self_tests_are_on_a_page_of_their_own(site):
    index, tests = ((site / name).read_text() for name in ("index.html", "self-tests.html"))
    assert "datasets/demo.html" not in index and "datasets/demo.html" in tests
    assert "datasets/data.html" in index and "datasets/data.html" not in tests
    assert "nothing about brains" in tests


def test_of_several_records_of_one_thing_the_newest_counts(tmp_path):
    old, new = (whole("a", value, date=date) for value, date in ((0.1, "2026-01-01"), (0.3, "2026-02-01")))
    write(tmp_path / "x", new)
    write(tmp_path / "y", old)
    entries, problems = read_entries([tmp_path / "x", tmp_path / "y"])
    assert [e.date for e in entries] == ["2026-02-01"] and not problems


def test_a_record_without_anything_beside_it_and_a_broken_one(tmp_path):
    bare = scored("bare")
    provenance = dataclasses.replace(bare, record=dataclasses.replace(bare.record, provenance={}, dropped=[]))
    (path,) = write(tmp_path / "x", provenance)
    huge = json.loads(path.read_text())
    huge["model"] = "huge"
    for k, value in enumerate(("1e999", "1e300", str(10**400))):
        text = json.dumps(huge).replace('"value": 0.5', f'"value": {value}')
        (tmp_path / "x" / f"huge{k}.json").write_text(text)
    (tmp_path / "x" / "cut.json").write_text("{")
    for k, depth in enumerate((30, 400, 900)):
        nested = f'"provenance": {{"git": {"[" * depth}{"]" * depth}}}'
        (tmp_path / "x" / f"deep{k}.json").write_text(
            json.dumps(huge).replace('"provenance": {"units_sha256": null}', nested)
        )
    site = build_site([tmp_path / "x"], tmp_path / "site", FACTS)
    assert (site.n_records, site.n_models, len(site.problems)) == (1, 1, 7)
    assert "Its records have no card" in (tmp_path / "site/models/bare.html").read_text()


def test_a_folder_that_is_no_site_and_files_of_others_are_never_lost(runs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(NgbError, match=r"holds 'thesis\.txt'"):
        build_site([runs], tmp_path / "mine", FACTS)
    (tmp_path / "file").write_text("")
    with pytest.raises(NgbError, match="is a file"):
        build_site([runs], tmp_path / "file", FACTS)
    to = tmp_path / "site"
    build_site([runs], to, FACTS)
    (to / "CNAME").write_text("example.org")
    with pytest.raises(NgbError, match="'CNAME'"):
        build_site([runs], to, FACTS)
    assert (to / "CNAME").exists() and (to / "index.html").exists()
    (to / "CNAME").unlink()
    build_site([runs], to, FACTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine", "site"]


@pytest.mark.parametrize("broken", ["write_bytes", "rename"])
def test_when_writing_fails_the_old_site_stays_whole(runs, tmp_path, monkeypatch, broken):
    to = tmp_path / "site"
    build_site([runs], to, FACTS)
    before = content(to)
    calls = []
    real = getattr(Path, broken)

    def fails(self, *arguments):
        calls.append(self)
        if len(calls) == (9 if broken == "write_bytes" else 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(Path, broken, fails)
    with pytest.raises(NgbError, match=r"Cannot write the site .*No space left"):
        build_site([runs], to, FACTS)
    monkeypatch.undo()
    assert content(to) == before and [p.name for p in tmp_path.iterdir()] == ["site"]


def test_a_removed_model_leaves_no_page(tmp_path):
    write(tmp_path / "x", whole("a", 0.1), whole("b", 0.2))
    assert (build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.parent / "models/b.html").exists()
    for path in (tmp_path / "x").glob("b-*"):
        path.unlink()
    build_site([tmp_path / "x"], tmp_path / "site", FACTS)
    assert not (tmp_path / "site/models/b.html").exists() and (tmp_path / "site/models/a.html").exists()


@given(st.text(max_size=300))
def test_names_of_pages_are_safe_and_cells_are_no_formulas(name):
    made = slug(name)
    assert made.isascii() and made == made.lower() and 0 < len(made) < 80
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert not cell(name).lstrip().startswith(("=", "+", "-", "@"))


def test_unique_contributions_of_groups_are_on_the_page_of_a_model(tmp_path):
    of_emg = {"split": "ood", "area": "M1", "group": "emg"}
    unique = {"metric": "unique_ev", "of": "single_trial_ev", **of_emg, "value": 0.123, "ci": [0.1, 0.146]}
    alone = {"metric": "single_trial_ev", **of_emg, "value": 0.345}
    absent = {**unique, "group": "muscles", "value": None, "ci": None, "reason": "no joint angles"}
    write(tmp_path / "x", whole("a", 0.4, more=[unique, alone, absent]))
    site = build_site([tmp_path / "x"], tmp_path / "site", FACTS).index.parent
    page = next((site / "models").glob("a*.html")).read_text()
    part = page.split("Unique contributions, M1", 1)[1].split("</table>", 1)[0]
    assert all(text in part for text in ("recorded EMG", "0.345", "0.123"))
    assert "muscle lengths" not in part


def test_names_that_look_alike_get_pages_of_their_own():
    names = [
        "a",
        "A",
        "a.b",
        "a-b",
        "a b",
        "",
        "..",
        "../a",
        "ä",
        "con",
        "nul.x",
        "x" * 100,
        "x" * 101,
        BAD,
        "日本",
    ]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("muscle_ppo") == "muscle_ppo" and slug("con") != "con"


def test_no_page_drawing_or_table_holds_what_is_not_seen(site):
    found = [path for path in site.rglob("*") if path.suffix in (".html", ".csv", ".svg", ".js", ".css")]
    assert len(found) > 10
    for path in found:
        assert clean(path.read_text()) == path.read_text(), path
    assert "\ufffd" in (site / "models" / f"{slug('evil..-model')}.html").read_text()


def test_runs_of_tie_letters_are_written_as_first_and_last():
    assert [letters(t) for t in ("", "a", "ab", "abcd", "acde", "yza1b1", "az")] == [
        "", "a", "a b", "a–d", "a c–e", "y–b1", "a z",
    ]  # fmt: skip


def test_the_command_that_reproduces_is_quoted_and_names_seeds_protocols_and_decoders(tmp_path):
    driven = {
        "protocol": "brain-control",
        "settings": {"decoder": "kalman (plugin 1.0)"},
        "id": "my data; rm -rf /",
    }
    entries = [
        *(scored("m", steady(0.1), seed=k, id="data") for k in range(3)),
        *(scored("m", steady(0.1), seed=k, id="data", protocol="tracking") for k in (0, 4)),
        scored("m", steady(0.1), seed=2, trained_on="data", **driven),
    ]
    write(tmp_path / "x", *entries)
    found = list(_commands(read_entries([tmp_path / "x"])[0], FACTS))
    assert found == [
        "ngb score --model m --dataset data --protocol encoding --seeds 3",
        "ngb score --model m --dataset data --protocol tracking --seed 0",
        "ngb score --model m --dataset data --protocol tracking --seed 4",
        "ngb score --model m --dataset 'path/to/my data; rm -rf /.nwb' --trained-on data --decoder kalman "
        "--protocol brain-control --seed 2",
    ]
    assert shlex.split(found[-1])[5] == "path/to/my data; rm -rf /.nwb"


def test_a_model_trained_on_the_dandiset_of_a_dataset_is_contaminated(tmp_path):
    entry = whole("a", 0.1, card={**json.loads(json.dumps(CARD_OF)), "training_data": ["dandi:000128"]})
    source = dict.fromkeys(("instance", "version", "path", "asset_id", "dandi_etag", "sha256"), "x")
    entry.record.dataset["source"] = [{**source, "dandiset": "000128", "size": 1}]
    write(tmp_path / "x", entry)
    assert read_entries([tmp_path / "x"])[0][0].contaminated


CARD_OF = {
    "licence": "MIT", "authors": ["A"], "citation": "", "action_space": "none", "training_data": [],
    "parameters": 1, "steps": 0, "compute": "none", "seeds": [], "simulator": "none",
}  # fmt: skip


def test_videos_beside_the_records_are_copied_and_shown(site):
    page = (site / "models/muscle.html").read_text()
    films = sorted((site / "films").iterdir())
    assert [f.suffix for f in films] == [".gif", ".mp4"] and films[1].read_bytes() == b"not really a video"
    assert f'<video controls preload="metadata" src="../films/{films[1].name}"' in page
    assert f'<img src="../films/{films[0].name}"' in page
    assert "<video" not in (site / "models/torque.html").read_text()


def test_what_a_link_in_a_run_folder_leads_to_is_not_published_and_the_link_is_named(tmp_path):
    (path,) = write(tmp_path / "run" / "records", scored("bare"))
    secret = tmp_path / "secret"
    secret.write_bytes(b"the secret")
    (tmp_path / "run" / "bare-x.mp4").symlink_to(secret)
    (path.parent / "linked.json").symlink_to(path)
    built = build_site([tmp_path / "run"], tmp_path / "site", FACTS)
    assert list(built.problems) == [
        f"{name} is a link, folder or device, so it was not read." for name in ("linked.json", "bare-x.mp4")
    ]
    assert all(b"the secret" not in p.read_bytes() for p in (tmp_path / "site").rglob("*") if p.is_file())


def test_each_table_can_be_downloaded_alone(site, board):
    index, tests = ((site / name).read_text() for name in ("index.html", "self-tests.html"))
    whole_file = table((site / "board.csv").read_bytes())
    files = sorted((site / "boards").iterdir())
    assert len(files) == len(board)
    for path in files:
        lines = table(path.read_bytes())
        own = {k: v for k, v in lines[0].items() if k in ("kind", "area", "dataset", "settings_sha256")}
        same = [line for line in whole_file if line.items() >= own.items()]
        assert [{k: line[k] for k in lines[0]} for line in same] == lines
        assert f'href="boards/{path.name}" download' in (tests if lines[0]["synthetic"] == "true" else index)


def test_pages_have_the_date_of_the_newest_record_and_how_to_cite(site, tmp_path):
    page = (site / "index.html").read_text()
    assert "The newest record is of 2026-01-01." in page and "The makers. &lt;script&gt;" in page
    assert "Newest record of 2026-01-01" in (site / "models/muscle.html").read_text()
    write(tmp_path / "x", whole("a", 0.1, date="2025-07-01T23:00:00+00:00"), whole("b", 0.1, date="soon"))
    build_site([tmp_path / "x"], tmp_path / "site", Facts())
    assert "Newest record of 2025-07-01." in (tmp_path / "site/index.html").read_text()


def test_a_laboratory_gives_the_site_its_title_and_logo(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = PngInfo()
    extra.add_text("Comment", "<script>")
    Image.new("P", (20, 10), 7).save("logo.png", pnginfo=extra)
    ngb = functools.partial(CliRunner().invoke, app)
    given = ["leaderboard", str(runs), "--html", "web", "--title", "Lab <b>"]
    built = ngb([*given, "--logo", "logo.png"])
    assert built.exit_code == 0, built.stderr
    page = (tmp_path / "web/models/muscle.html").read_text()
    assert (
        '<img src="../assets/logo.png" alt=""> Lab &lt;b&gt;</a>' in page
        and "· Lab &lt;b&gt;</title>" in page
    )
    assert "The neurobench_grasp contributors" in (tmp_path / "web/index.html").read_text()
    drawn = (tmp_path / "web/assets/logo.png").read_bytes()
    assert Image.open(io.BytesIO(drawn)).size == (20, 10) and b"script" not in drawn
    assert ngb(given).exit_code == 0 and not (tmp_path / "web/assets/logo.png").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("<svg onload='alert(1)'/>"), "is not a PNG image"),
        (lambda path: Image.new("RGB", (4, 4)).save(path, "GIF"), "is not a PNG image"),
        (lambda path: path.write_bytes(png(4, 4)[:40]), "is not a PNG image"),
        (lambda path: path.write_bytes(png(2000, 1)), "2000 × 1 pixels"),
        (lambda path: path.write_bytes(png(4, 4) + bytes(300_000)), "bytes, and at most"),
        (lambda path: None, "logo.png"),
    ],
)
def test_a_logo_that_is_no_small_png_is_refused(runs, tmp_path, make, message):
    make(tmp_path / "logo.png")
    given = ["leaderboard", str(runs), "--html", str(tmp_path / "web"), "--logo", str(tmp_path / "logo.png")]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 1 and message in found.stderr and not (tmp_path / "web").exists()


@pytest.mark.parametrize(
    "more", [["--html", "web", "--title", "a\nb"], ["--html", "web", "--title", ""], ["--logo", "x.png"]]
)
def test_a_title_is_one_line_and_a_logo_needs_a_site(runs, tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["leaderboard", str(runs), *more])
    assert found.exit_code == 1 and ("--title" in found.stderr or "add --html" in found.stderr)


def png(width, height):
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


def test_the_command_builds_the_site_and_tells_where_it_is(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ngb = CliRunner().invoke
    built = ngb(app, ["leaderboard", str(runs), "--html", "web"])
    assert (
        built.exit_code == 0
        and "open web/index.html" in built.stdout
        and (tmp_path / "web/index.html").exists()
    )
    asked = json.loads(ngb(app, ["leaderboard", str(runs), "--html", "web", "--json"]).stdout)
    assert asked["index"] == "web/index.html" and asked["models"] == 6 and asked["boards"] == 6
    refused = ngb(app, ["leaderboard", "nowhere", "--html", "other"])
    assert refused.exit_code == 1 and "there is no folder nowhere" in refused.stderr
    assert not (tmp_path / "other").exists()
    (tmp_path / "ngb-runs" / "records").mkdir(parents=True)
    empty = ngb(app, ["leaderboard", "ngb-runs", "--html", "empty"])
    assert empty.exit_code == 0 and "no scores to show yet" in empty.stderr
    assert "No model has been scored on recordings yet" in (tmp_path / "empty/index.html").read_text()
