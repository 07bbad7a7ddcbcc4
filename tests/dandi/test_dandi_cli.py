"""``ngb data fetch|files|list|verify|remove`` and ``ngb score`` on files of an archive."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dandi_server import PUBLISHED, SET, Fault, File, archive
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.data.dandi import cached_files, fetch_files
from neurobench_grasp.data.dandi.partial_file import SUFFIX, abandoned

SECRET = "s3cr3t-t0ken-of-no-one"


@pytest.fixture
def ngb(monkeypatch):
    """Run a command against an archive."""

    def run(*arguments, server=None):
        if server is not None:
            monkeypatch.setenv("NGB_DANDI_INSTANCE", server.api)
        return CliRunner().invoke(app, list(map(str, arguments)))

    return run


def found(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_fetch_by_address_and_instance(ngb, server):
    text = f"dandi:{SET}/sub-A/*"
    result = found(ngb("data", "fetch", text, "--instance", server.api, "--json"))
    assert result["address"] == f"dandi:{SET}@{PUBLISHED}/sub-A/*"
    assert result["licence"] == "CC-BY-4.0"
    assert [s["path"] for s in result["source"]] == ["sub-A/sub-A_ses-1.nwb", "sub-A/sub-A_ses-2.nwb"]
    shown = ngb("data", "fetch", text, server=server)
    assert shown.stdout.splitlines() == [result["address"], *result["files"]]
    assert "Licence: CC-BY-4.0. Please cite: Doe, Jane (2024)" in shown.stderr


def test_options_that_do_not_go_together_are_usage_errors(ngb, server, tmp_path):
    assert ngb("data", "fetch", f"dandi:{SET}/a.nwb", "--from", tmp_path).exit_code == 2
    assert ngb("data", "fetch", "myodm", "--instance", server.api).exit_code == 2


def test_files_lists_without_downloading(ngb, server):
    shown = ngb("data", "files", f"dandi:{SET}", server=server)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == f"     0.6 MB  dandi:{SET}@{PUBLISHED}"
    assert "  sub-B/big.zarr (cannot be fetched)\n" in shown.stdout
    data = found(ngb("data", "files", f"dandi:{SET}/*.nwb", "--json", server=server))
    assert len(data["files"]) == 3 and all(f["is_nwb"] for f in data["files"])
    assert server.count("blob") == 0


def test_list_verify_and_remove(ngb, server):
    assert ngb("data", "list").stdout.startswith("     0.0 MB  in ")
    fetched = found(ngb("data", "fetch", f"dandi:{SET}/*", "--json", server=server))
    listed = found(ngb("data", "list", "--json"))
    assert listed["size"] == sum(a["size"] for a in listed["assets"]) == 600_003
    assert {a["path"] for a in listed["assets"]} == set(fetched["files"])
    assert {s["state"] for s in found(ngb("data", "verify", "--json"))} == {"sound"}

    damaged = fetched["files"][0]
    with open(damaged, "r+b") as file:
        file.write(b"damage")
    result = ngb("data", "verify")
    assert result.exit_code == 1
    assert "ses-1.nwb: damaged, so it was removed; fetch it again\n" in result.stdout
    assert found(ngb("data", "fetch", f"dandi:{SET}@{PUBLISHED}/*", "--json"))["files"] == fetched["files"]
    assert ngb("data", "verify").exit_code == 0

    shown = ngb("data", "remove", f"dandi:{SET}/sub-A/*")
    assert shown.exit_code == 0 and "     0.4 MB  freed" in shown.stdout
    assert [a["origins"][0]["path"] for a in found(ngb("data", "list", "--json"))["assets"]] == [
        "sub-B/sub-B_ses-1.nwb"
    ]
    for command in ("remove", "verify"):
        missing = ngb("data", command, f"dandi:{SET}", "nothing")
        assert missing.exit_code == 1 and missing.stderr.startswith("The cache has no nothing; ")
        assert missing.stderr.count("\n") == 1
    assert found(ngb("data", "list", "--json"))["assets"]


def test_unfinished_downloads_are_listed_and_removed(ngb, server, tmp_path):
    part = tmp_path / "cache" / "assets" / "unfinished" / f"{'0' * 64}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 200_000)
    assert found(ngb("data", "list", "--json"))["unfinished"] == [{"size": 200_000, "path": str(part)}]
    assert found(ngb("data", "remove", "unfinished", "--json"))["size"] == 200_000
    assert not part.exists()


def test_what_is_damaged_in_the_cache_is_fetched_anew_and_never_scored(ngb, server, tmp_path):
    """Its size is right, its digest is not: a record would name a digest of other bytes."""
    content = write_planted(tmp_path / "made.nwb").read_bytes()
    server.add("001209", "draft", File("sub-P/sub-P_ses-1.nwb", content))
    text = "dandi:001209@draft/sub-P/*.nwb"
    (path,) = map(Path, found(ngb("data", "fetch", text, "--json", server=server))["files"])

    def damage():
        path.write_bytes(content[:-1000] + bytes(b ^ 1 for b in content[-1000:]))

    score = ("score", "--model", "linear_kinematic", "--dataset", text, "--out", tmp_path / "run", "--json")
    for command in (
        ("data", "fetch", text, "--json"),
        score,
        ("data", "inspect", text),
    ):
        damage()
        result = ngb(*command)
        assert result.exit_code == 0, result.output
        if "inspect" in command:  # what the archive has is streamed
            assert not path.exists()
        else:
            assert path.read_bytes() == content
        assert (
            "sub-P/sub-P_ses-1.nwb in the cache is damaged, so it was removed, to be fetched again"
            in result.stderr
        )


def test_one_file_of_those_that_were_fetched_together_needs_no_network(ngb, server):
    fetched = found(ngb("data", "fetch", f"dandi:{SET}/*", "--json", server=server))
    one = f"dandi:{SET}@{PUBLISHED}/sub-A/sub-A_ses-2.nwb"
    server.seen.clear()
    result = found(ngb("data", "fetch", one, "--json"))
    assert server.seen == []
    assert result["files"] == fetched["files"][1:2] and result["source"] == fetched["source"][1:2]
    assert result["address"] == one and result["licence"] == fetched["licence"]
    for other in (one.replace("ses-2", "ses-9"), one.replace(PUBLISHED, "0.1.1"), one.replace(SET, "000129")):
        assert ngb("data", "fetch", other).exit_code == 1 and server.seen.clear() is None


def test_of_a_draft_what_was_fetched_last_is_used(server):
    """Alone first, then among others, when its owner has replaced it."""
    text = f"dandi:{SET}@draft/sub-A/sub-A_ses-1.nwb"
    fetch_files(text, instance=server.api)
    server.versions[SET]["draft"] = [File("sub-A/sub-A_ses-1.nwb", b"replaced")]
    assert cached_files(text, instance=server.api).files[0].read_bytes() == b"draft" * 1000
    fetch_files(f"dandi:{SET}@draft/*", instance=server.api)
    assert cached_files(text, instance=server.api).files[0].read_bytes() == b"replaced"


def test_a_cache_that_can_only_be_read_is_listed_and_verified(ngb, server, tmp_path):
    fetched = found(ngb("data", "fetch", f"dandi:{SET}@{PUBLISHED}/*", "--json", server=server))
    unfinished = tmp_path / "cache" / "assets" / "unfinished"
    part = unfinished / f"{'0' * 64}.part"
    part.write_bytes(b"x" * 1000)
    opened, path_open = [], Path.open

    def read_only(self, mode="r", *arguments, **options):
        opened.append(mode)
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return path_open(self, mode, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", read_only)
        assert found(ngb("data", "list", "--json"))["unfinished"] == [{"size": 1000, "path": str(part)}]
        assert ngb("data", "verify").exit_code == 0
        again = found(ngb("data", "fetch", f"dandi:{SET}@{PUBLISHED}/*", "--json"))
    assert again == fetched and opened


def test_looking_for_unfinished_downloads_makes_none(tmp_path, monkeypatch):
    """One that another process finishes between the listing and the look does not come back empty."""
    (tmp_path / f"a{SUFFIX}").touch()
    listed = Path.glob

    def finished_meanwhile(self, pattern):
        paths = list(listed(self, pattern))
        for path in paths:
            path.unlink(missing_ok=True)
        return paths

    monkeypatch.setattr(Path, "glob", finished_meanwhile)
    assert abandoned(tmp_path) == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["[1]", "{", '{"sha256": "ab"}', '{"sha256": "ab", "sizes": [1]}'])
def test_a_damaged_manifest_is_an_incomplete_dataset(ngb, tmp_path, content):
    folder = tmp_path / "cache" / "small-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(content)
    result = ngb("data", "verify")
    assert result.exit_code == 1 and result.stdout == "small: incomplete, make or fetch it again\n"


def test_validate_of_an_address_says_to_fetch_it(ngb):
    result = ngb("data", "validate", f"dandi:{SET}/a.nwb")
    assert result.exit_code == 2 and "ngb data fetch" in result.stderr


def test_datasets_of_the_catalogue_are_listed_with_their_sizes(ngb, tmp_path):
    folder = tmp_path / "cache" / "small-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "a.nwb").write_bytes(b"x" * 1000)
    (folder / "manifest.json").write_text(json.dumps({"sha256": "ab", "sizes": {"a.nwb": 1000}}))
    (dataset,) = found(ngb("data", "list", "--json"))["datasets"]
    assert dataset["name"] == "small" and dataset["size"] > 1000
    (state,) = found(ngb("data", "verify", "small", "--json"))
    assert state == {"name": "small", "state": "complete by file sizes; no digests were stored"}
    (folder / "a.nwb").write_bytes(b"x")
    assert ngb("data", "verify", "small").exit_code == 1
    assert ngb("data", "remove", "small").exit_code == 0 and not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fetch", "dandi:12/a.nwb"],
        ["fetch", "dandi:999999/a.nwb"],
        ["fetch", f"dandi:{SET}/none.nwb"],
        ["files", f"dandi:{SET}@0.1.1"],
        ["fetch", f"dandi:{SET}/a.nwb", "--instance", "http://example.org/api"],
    ],
)
def test_errors_are_one_sentence(ngb, server, arguments):
    result = ngb("data", *arguments, server=server)
    assert result.exit_code == 1 and result.stdout == ""
    messages = [line for line in result.stderr.splitlines() if "querying the archive" not in line]
    assert len(messages) == 1 and messages[0].endswith(".")


def test_score_fetches_what_is_absent_and_then_needs_no_network(ngb, server, tmp_path):
    file = server.add(
        "001209", "draft", File("sub-P/sub-P_ses-1.nwb", write_planted(tmp_path / "made.nwb").read_bytes())
    )
    text = "dandi:001209@draft/sub-P/*.nwb"
    command = ["score", "--model", "linear_kinematic", "--dataset", text, "--seed", "0"]
    command += ["--out", tmp_path / "run", "--json"]
    first = ngb(*command, server=server)
    (record,) = found(first)
    assert "1 file: " in first.stderr
    (source,) = record["dataset"]["source"]
    assert source == {
        "instance": server.api,
        "dandiset": "001209",
        "version": "draft",
        "path": file.path,
        "asset_id": file.id,
        "size": file.size,
        "dandi_etag": file.etag,
        "sha256": file.sha256,
    }
    assert record["dataset"]["licence"] == "CC-BY-4.0"
    assert record["dataset"]["id"].startswith("dandi-001209-draft-sub-p-")
    server.close()
    server.seen.clear()
    (again,) = found(ngb(*command))
    assert again["dataset"] == record["dataset"] and server.seen == []
    (path,) = (tmp_path / "run" / "records").glob("*.json")
    assert "dandi-001209-draft-sub-p-" in path.name


def test_a_token_is_in_no_output_and_no_record(ngb, tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_DANDI_TOKEN", SECRET)
    with archive(token=SECRET) as closed:
        closed.add("000777", "draft", File("a.nwb", write_planted(tmp_path / "made.nwb").read_bytes()))
        text = "dandi:000777@draft/a.nwb"
        score = ["score", "--model", "linear_kinematic", "--dataset", text, "--out", tmp_path / "run"]
        results = [ngb("--debug", *score, server=closed), ngb("data", "list", "--json")]
        assert all(r.exit_code == 0 for r in results), results[0].output
        closed.blob_faults.append(Fault("status", 403))
        results.append(ngb("--debug", "data", "fetch", "dandi:000777@draft/b.nwb"))
        assert results[-1].exit_code == 1
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) > 5
    assert not any(SECRET in r.stdout + r.stderr for r in results)
    assert not any(SECRET.encode() in content for content in written)


def test_help_imports_neither_dandi_nor_requests():
    code = """
import sys
from neurobench_grasp.cli import app
try:
    app(["data", "--help"])
finally:
    print(sorted({"dandi", "requests", "h5py"} & set(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "fetch" in result.stdout and result.stderr.splitlines()[-1] == "[]"
