"""Fetching: the right files, once, whole; offline from then on."""

import hashlib
import threading

import pytest
from dandi_server import PUBLISHED, SET, File, archive, etag_of
from lazy import Lazy

from neurobench_grasp import NgbError
from neurobench_grasp.data.dandi import Store, cached_files, fetch_files, list_files, parse_address, source_of
from neurobench_grasp.data.dandi.digests import Digests, Etag, part_size
from neurobench_grasp.data.dandi.names import Address, dataset_id, file_name
from neurobench_grasp.errors import CorruptFileError

dandietag = Lazy("dandischema.digests.dandietag")

ONE = f"dandi:{SET}@{PUBLISHED}/sub-A/sub-A_ses-1.nwb"


def fetch(server, text=ONE, **options):
    return fetch_files(text, instance=server.api, **options)


def files(server, version=PUBLISHED):
    return {f.path: f for f in server.versions[SET][version]}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("dandi:000128", Address("000128", "", "")),
        ("dandi:000128/a/b.nwb", Address("000128", "", "a/b.nwb")),
        ("dandi:000128@draft/*", Address("000128", "draft", "*")),
        ("dandi:000128@0.220113.0400/sub-*/x.nwb", Address("000128", "0.220113.0400", "sub-*/x.nwb")),
    ],
)
def test_an_address_is_read_and_written(text, parsed):
    assert parse_address(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dandi:128/a.nwb", "six digits"),
        ("dandi:0001280/a.nwb", "six digits"),
        ("DANDI:000128/a.nwb", "is not an address"),
        ("dandi:000128@latest/a.nwb", "the version 'latest'"),
        ("dandi:000128@/a.nwb", "the version ''"),
        ("dandi:000128/0.220113.0400/a.nwb", "after a slash"),
        ("dandi:000128/draft", "after a slash"),
        ("dandi:000128/../a.nwb", "has an invalid path"),
        ("dandi:000128//etc/passwd", "has an invalid path"),
        ("dandi:000128/a\\b.nwb", "has an invalid path"),
        ("dandi:000128/a\x1b[31m.nwb", "has an invalid path"),
        ("dandi:000128/sub-A/", "write dandi:000128/sub-A/*"),
    ],
)
def test_what_is_no_address_is_refused_with_the_form(text, says):
    with pytest.raises(NgbError, match="dandi:") as error:
        parse_address(text)
    assert says in str(error.value)


def test_a_pattern_is_matched_as_the_archive_does_but_by_case():
    assert Address("000128", "", "sub-*.nwb").matches("sub-A/deep/x.nwb")
    assert not Address("000128", "", "sub-*.nwb").matches("SUB-A/x.nwb")
    assert not Address("000128", "", "sub-A").matches("sub-A/x.nwb")
    assert not Address("000128", "", "a.nwb").matches("aXnwb")
    assert Address("000128", "", "").matches("anything")


def test_names_for_files_are_plain_and_different():
    ids = [
        dataset_id(Address("000128", "draft", p)) for p in ("sub-*", "sub-?", "a/B.nwb", "a/b.nwb", "ü" * 300)
    ]
    assert len(set(ids)) == 5
    assert all(i.startswith("dandi-000128-draft-") and len(i) <= 60 for i in ids)
    assert all(c.isascii() and (c.isalnum() or c == "-") for c in "".join(ids))
    assert file_name("sub-A/sub-A_ses-1.nwb") == "sub-A_ses-1.nwb"
    assert file_name("a/..nwb.nwb") == "nwb.nwb"
    assert "/" not in file_name("x/a b\\c:d.nwb") and " " not in file_name("x/a b\\c:d.nwb")


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (64 << 20) - 1, 64 << 20, (64 << 20) + 1, 150 << 20])
def test_the_etag_is_the_one_of_dandis_own_package(size):
    data = bytes(1 << 20) * 31 + b"x" * 7919
    content = (data * (size // len(data) + 1))[:size]
    theirs = dandietag.DandiETag(size)
    for part in theirs.get_parts():
        theirs.update(content[part.offset : part.offset + part.size])
    with Digests(size) as ours:
        for start in range(0, size, 999_983):
            ours.update(content[start : start + 999_983])
    assert ours.result() == (hashlib.sha256(content).hexdigest(), theirs.as_str())
    assert theirs.as_str() == etag_of(content)


def test_parts_of_very_large_files_are_those_of_dandis_own_package():
    for size in (1 << 30, (64 << 20) * 9_999, (64 << 20) * 10_000, (64 << 20) * 10_000 + 1, 2 << 40):
        assert part_size(size) == dandietag.PartGenerator.for_file_size(size).initial_part_size
    etag = Etag(10)
    etag.update(b"0123456789")
    assert etag.result() == etag_of(b"0123456789")


def test_a_file_is_fetched_under_the_digest_of_its_content(server, tmp_path):
    fetched = fetch(server)
    (path,) = fetched.files
    file = files(server)["sub-A/sub-A_ses-1.nwb"]
    assert path.read_bytes() == file.data
    assert path.name == "sub-A_ses-1.nwb"
    assert path.parent.name == file.sha256
    (source,) = fetched.source
    assert (source["instance"], source["dandiset"], source["version"]) == (server.api, SET, PUBLISHED)
    assert (source["path"], source["asset_id"], source["size"]) == (file.path, file.id, 200_000)
    assert (source["sha256"], source["dandi_etag"]) == (file.sha256, file.etag)
    assert source_of(fetched.files) == [source]
    assert source_of([tmp_path / "elsewhere.nwb"]) == []
    assert fetched.found.licence == "CC-BY-4.0"
    assert Store().parts() == []


def test_the_newest_published_version_is_taken_and_recorded(server):
    server.add(SET, "0.230101.0000", File("sub-A/sub-A_ses-1.nwb", b"newer"))
    fetched = fetch(server, f"dandi:{SET}/sub-A/sub-A_ses-1.nwb")
    assert fetched.files[0].read_bytes() == b"newer"
    assert fetched.source[0]["version"] == "0.230101.0000"
    assert fetched.dataset_id.startswith("dandi-000128-0.230101.0000-sub-a-sub-a-ses-1-")


def test_a_draft_is_recorded_with_the_digests_of_its_files(server):
    fetched = fetch(server, f"dandi:{SET}@draft/*.nwb")
    (asset,) = fetched.source
    assert fetched.source[0]["version"] == "draft"
    assert asset["sha256"] == hashlib.sha256(b"draft" * 1000).hexdigest()


def test_only_a_draft_must_be_asked_for_by_name(server):
    server.add("001209", "draft", File("a.nwb", b"a"))
    with pytest.raises(NgbError, match="no published version; write dandi:001209@draft/"):
        fetch(server, "dandi:001209/a.nwb")
    assert fetch(server, "dandi:001209@draft/a.nwb").files[0].read_bytes() == b"a"


def test_a_pattern_takes_nwb_files_alone_and_in_order(server):
    fetched = fetch(server, f"dandi:{SET}/*")
    assert [a.path for a in fetched.found.assets] == sorted(p for p in files(server) if p.endswith(".nwb"))
    with pytest.raises(NgbError, match=r"names no NWB file, only dandiset\.txt"):
        fetch(server, f"dandi:{SET}/*.txt")
    with pytest.raises(NgbError, match=r"names no NWB file, only sub-B/big\.zarr"):
        fetch(server, f"dandi:{SET}/sub-B/big.zarr")
    with pytest.raises(NgbError, match="names no NWB file; `ngb data files"):
        fetch(server, f"dandi:{SET}/sub-a/*")
    with pytest.raises(NgbError, match="is a whole dandiset"):
        fetch(server, f"dandi:{SET}")


def test_what_is_missing_is_named(server):
    with pytest.raises(NgbError, match="has no dandiset 999999"):
        fetch(server, "dandi:999999/a.nwb")
    with pytest.raises(NgbError, match=rf"no version 0\.1\.1; the newest is {PUBLISHED}"):
        fetch(server, f"dandi:{SET}@0.1.1/a.nwb")


def test_a_file_in_the_cache_makes_no_request(server):
    first = fetch(server, f"dandi:{SET}/sub-A/*")
    server.seen.clear()
    server.close()
    assert cached_files(f"dandi:{SET}/sub-A/*", instance=server.api) == first
    assert cached_files(f"dandi:{SET}@{PUBLISHED}/sub-A/*", instance=server.api) == first
    assert fetch(server, f"dandi:{SET}@{PUBLISHED}/sub-A/*") == first
    assert server.seen == []


def test_fetching_a_draft_asks_again_and_takes_the_new_content(server):
    text = f"dandi:{SET}@draft/sub-A/sub-A_ses-1.nwb"
    old = fetch(server, text)
    server.versions[SET]["draft"][:] = [File("sub-A/sub-A_ses-1.nwb", b"changed")]
    assert cached_files(text, instance=server.api) == old
    new = fetch(server, text)
    assert new.files[0].read_bytes() == b"changed"
    assert old.files[0].read_bytes() == b"draft" * 1000
    assert cached_files(text, instance=server.api) == new


@pytest.mark.parametrize("known", [None, ""])
def test_the_same_content_elsewhere_is_not_fetched_twice(server, known):
    """By SHA-256, or where the archive does not give it, by its etag."""
    data = files(server)["sub-A/sub-A_ses-1.nwb"].data
    server.add("000777", "draft", File("other.nwb", data, sha256=known))
    fetch(server)
    n_blobs = server.count("blob")
    again = fetch(server, "dandi:000777@draft/other.nwb")
    assert again.files[0].read_bytes() == data
    assert server.count("blob") == n_blobs
    (cached,) = Store().all()
    assert {o.dandiset for o in cached.origins} == {SET, "000777"}


def test_pinned_digests_are_compared_before_anything_is_downloaded(server):
    file = files(server)["sub-A/sub-A_ses-1.nwb"]
    for digest in (file.sha256, file.etag):
        assert fetch(server, pinned={file.path: digest}).files
    with archive() as other:
        other.versions = server.versions
        for digest in ("0" * 64, f"{'0' * 32}-1"):
            with pytest.raises(CorruptFileError, match="is not the pinned file"):
                fetch(other, pinned={file.path: digest})
        assert other.count("blob") == 0


def test_a_pinned_sha256_that_the_archive_does_not_give_is_compared_with_the_content(server):
    file = server.add("000777", "draft", File("a.nwb", b"content", sha256=""))
    right = hashlib.sha256(b"content").hexdigest()
    text = "dandi:000777@draft/a.nwb"
    assert fetch(server, text, pinned={file.path: right}).found.assets[0].sha256 == right
    with pytest.raises(CorruptFileError, match="is not the pinned file"):
        fetch(server, text, pinned={file.path: "0" * 64})


def test_listing_downloads_nothing_and_tells_what_can_be_fetched(server):
    address, listed = list_files(f"dandi:{SET}/sub-B/*", instance=server.api)
    assert [(f.path, f.is_nwb) for f in listed] == [
        ("sub-B/big.zarr", False),
        ("sub-B/sub-B_ses-1.nwb", True),
    ]
    assert address.version == PUBLISHED
    assert server.count("blob") == 0


def test_progress_counts_up_to_all_bytes(server):
    messages = []
    fetch(server, f"dandi:{SET}/*", progress=messages.append)
    assert messages[0] == f"dandi:{SET}/*: querying the archive"
    assert messages[-1] == "3 files: 0.6 of 0.6 MB"


def test_two_fetches_at_once_download_each_file_once(server):
    got, errors = [], []

    def run():
        try:
            got.append(fetch(server, f"dandi:{SET}/*"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len({fetched.files for fetched in got}) == 1
    assert server.count("blob") == 3
    assert Store().parts() == []


def test_removing_takes_what_is_meant_and_leaves_what_others_share(server):
    data = files(server)["sub-A/sub-A_ses-1.nwb"].data
    server.add("000777", "draft", File("other.nwb", data))
    fetch(server, f"dandi:{SET}/*")
    fetch(server, "dandi:000777@draft/other.nwb")
    store = Store()
    assert store.remove(parse_address("dandi:000777")) == []
    assert [o.dandiset for c in store.all() for o in c.origins] == [SET] * 3
    gone = store.remove(parse_address(f"dandi:{SET}/sub-A/*"))
    assert len(gone) == 2 and not any(c.path.exists() for c in gone)
    assert [c.origins[0].path for c in store.all()] == ["sub-B/sub-B_ses-1.nwb"]
    assert len(fetch(server, f"dandi:{SET}@{PUBLISHED}/*").files) == 3


def test_damage_in_the_cache_is_found(server):
    (path,) = fetch(server).files
    (cached,) = Store().all()
    assert cached.is_valid()
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    assert not Store().all()[0].is_valid()
    path.write_bytes(raw[:-1])
    assert fetch(server).files[0].read_bytes() == files(server)["sub-A/sub-A_ses-1.nwb"].data
