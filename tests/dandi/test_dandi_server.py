"""The unmodified package dandi finds the same in the test's archive as we do: the archive is like DANDI's."""

import pytest
import requests
from dandi_server import PUBLISHED, SET, archive
from lazy import Lazy

from neurobench_grasp.data.dandi import fetch_files, list_files

dandiapi = Lazy("dandi.dandiapi")
consts = Lazy("dandi.consts")
exceptions = Lazy("dandi.exceptions")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_CACHE", "ignore")


def client(server, token=None):
    return dandiapi.DandiAPIClient(dandi_instance=consts.DandiInstance("test", None, server.api), token=token)


def test_it_lists_versions_pages_and_patterns(server):
    """Five files come in three pages, by the package's own parallel paging."""
    with client(server) as theirs:
        dandiset = theirs.get_dandiset(SET, lazy=False)
        assert [v.identifier for v in dandiset.get_versions()] == ["draft", PUBLISHED]
        listed = {a.path: a.size for a in dandiset.get_assets()}
        by_glob = {a.path for a in dandiset.get_assets_by_glob("SUB-*ses-1.nwb")}
    asked = [path for _, _, path, _ in server.seen if "/assets/" in path]
    assert sum("page=" in path for path in asked) >= 2
    address, ours = list_files(f"dandi:{SET}", instance=server.api)
    assert {f.path: f.size for f in ours} == listed and len(listed) == 5
    assert str(address) == f"dandi:{SET}@{PUBLISHED}"
    assert by_glob == {"sub-A/sub-A_ses-1.nwb", "sub-B/sub-B_ses-1.nwb"}


def test_it_downloads_the_same_bytes(server, tmp_path):
    fetched = fetch_files(f"dandi:{SET}/*.nwb", instance=server.api)
    with client(server) as theirs:
        dandiset = theirs.get_dandiset(SET, PUBLISHED)
        for asset, path in zip(fetched.found.assets, fetched.files, strict=True):
            remote = dandiset.get_asset_by_path(asset.path)
            remote.download(tmp_path / "theirs.nwb")
            assert (tmp_path / "theirs.nwb").read_bytes() == path.read_bytes()
            assert remote.get_raw_digest("dandi:sha2-256") == asset.sha256
            assert remote.get_raw_digest() == asset.dandi_etag
            assert remote.identifier == asset.asset_id
    assert len(fetched.files) == 3


def test_it_asks_for_a_token_and_keeps_it_from_the_store(server, tmp_path):
    with archive(token="t0ken") as closed:
        file = closed.add("000777", "draft", next(iter(server.versions[SET][PUBLISHED])))
        with pytest.raises(requests.HTTPError, match="401"), client(closed) as theirs:
            theirs.get_dandiset("000777", lazy=False)
        with client(closed, token="t0ken") as theirs:
            asset = theirs.get_dandiset("000777", "draft").get_asset_by_path(file.path)
            asset.download(tmp_path / "file.nwb")
        assert (tmp_path / "file.nwb").read_bytes() == file.data
        assert not any("Authorization" in h for port, _, _, h in closed.seen if port == "blob")
        assert any(h.get("Authorization") == "token t0ken" for port, _, _, h in closed.seen if port == "api")


def test_it_misses_what_is_not_there(server):
    with client(server) as theirs:
        with pytest.raises(exceptions.NotFoundError):
            theirs.get_dandiset("999999", lazy=False)
        with pytest.raises(exceptions.NotFoundError):
            theirs.get_dandiset(SET, "0.1.1", lazy=False)


def test_it_follows_to_the_signed_address_and_reads_ranges(server):
    with client(server) as theirs:
        asset = theirs.get_dandiset(SET, PUBLISHED).get_asset_by_path("sub-A/sub-A_ses-1.nwb")
        url = asset.get_content_url(follow_redirects=1, strip_query=False)
        rest = b"".join(asset.get_download_file_iter()(199_990))
    assert url.startswith(server.blob_root)
    whole = requests.get(url, timeout=2).content
    assert rest == whole[199_990:]
    part = requests.get(url, headers={"Range": "bytes=5-9"}, timeout=2)
    assert (part.status_code, part.content) == (206, whole[5:10])
    assert part.headers["Content-Range"] == "bytes 5-9/200000"
    assert requests.get(url, headers={"Range": "bytes=200000-"}, timeout=2).status_code == 416
    assert requests.head(url, timeout=2).headers["Content-Length"] == "200000"
