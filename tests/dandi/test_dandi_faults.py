"""What goes wrong on the way ends in one sentence, and nothing broken stays behind."""

import errno
import io
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from dandi_server import PUBLISHED, SET, SIGNATURE, Fault, File, archive

from neurobench_grasp import NgbError
from neurobench_grasp.data.dandi import Store, fetch_files, list_files
from neurobench_grasp.data.dandi.download import download
from neurobench_grasp.data.dandi.instances import checked_instance, token_for
from neurobench_grasp.data.dandi.partial_file import Part, claimed
from neurobench_grasp.data.dandi.thread_pool import run_in_threads
from neurobench_grasp.errors import CorruptFileError

PATH = "sub-A/sub-A_ses-1.nwb"
TEXT = f"dandi:{SET}@{PUBLISHED}/{PATH}"
ALWAYS = math.inf
SECRET = "s3cr3t-t0ken-of-no-one"


@pytest.fixture
def fetch(server, quick):
    return lambda text=TEXT, **options: fetch_files(text, instance=server.api, retry=quick, **options)


@pytest.fixture
def file(server):
    return next(f for f in server.versions[SET][PUBLISHED] if f.path == PATH)


def sentence(error):
    """The message, if it is one sentence (with parts joined by semicolons) and ends as such."""
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and "Traceback" not in text
    return text


def nothing_left():
    store = Store()
    return store.all() == [] and store.parts() == []


# -- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sha256", "header", "says"),
    [(None, None, "SHA-256"), (None, "of no use", "dandi-etag"), ("", None, "dandi-etag")],
)
def test_a_corrupt_body_is_refused_and_the_next_fetch_repairs_it(server, fetch, file, sha256, header, says):
    """Whichever digests the archive gives, and whether its store states the etag, too, or not."""
    file.sha256 = file.sha256 if sha256 is None else sha256
    file.header = header or file.header
    server.blob_faults = [Fault("corrupt", 1234)]
    with pytest.raises(CorruptFileError) as error:
        fetch()
    assert f"{PATH} has the {says} " in sentence(error)
    assert f"instead of the announced {file.etag if says == 'dandi-etag' else file.sha256}" in str(
        error.value
    )
    assert nothing_left()
    assert fetch().files[0].read_bytes() == file.data


def test_a_wrong_sha256_is_refused_though_the_etag_is_right(server, fetch, file):
    file.sha256 = "0" * 64
    with pytest.raises(CorruptFileError, match="has the SHA-256 ") as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_a_wrong_etag_is_refused_though_the_sha256_is_right(server, fetch, file):
    file.etag = f"{'0' * 32}-1"
    with pytest.raises(CorruptFileError, match="has the dandi-etag ") as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_a_reset_in_mid_file_is_continued_by_a_range(server, fetch, file):
    server.blob_faults = [Fault("reset", 70_000), Fault("reset", 50_000)]
    assert fetch().files[0].read_bytes() == file.data
    first, *others = server.ranges()
    assert first is None and len(others) == 2
    assert all(r.startswith("bytes=") and int(r[6:-1]) > 0 for r in others)


def test_a_truncated_body_is_continued(server, fetch, file):
    server.blob_faults = [Fault("end", 150_000)]
    assert fetch().files[0].read_bytes() == file.data
    assert server.ranges() == [None, "bytes=150000-"]


def test_a_server_without_ranges_is_read_from_the_beginning(server, fetch, file):
    server.blob_faults = [Fault("end", 150_000), Fault("whole")]
    assert fetch().files[0].read_bytes() == file.data


def test_a_body_that_always_breaks_off_ends_and_is_continued_next_time(server, fetch, file):
    server.blob_faults = [Fault("end", 120_000), Fault("end", 0, times=ALWAYS)]
    with pytest.raises(NgbError) as error:
        fetch()
    assert "is not complete (0.1 of 0.2 MB), because the connection was lost" in sentence(error)
    assert Store().all() == [] and len(Store().parts()) == 1
    server.blob_faults.clear()
    server.seen.clear()
    assert fetch().files[0].read_bytes() == file.data
    assert server.ranges() == ["bytes=120000-"]
    assert Store().parts() == []


def test_a_stall_ends_after_the_timeout(server, fetch):
    server.blob_faults = [Fault("stall", 1000, times=ALWAYS)]
    begin = time.monotonic()
    with pytest.raises(NgbError, match=r"because no data arrived for 0\.3 s") as error:
        fetch()
    assert sentence(error)
    assert time.monotonic() - begin < 4


def test_a_stall_before_the_answer_ends_after_the_timeout(server, fetch):
    server.blob_faults = [Fault("stall", 0, times=ALWAYS)]
    with pytest.raises(NgbError, match=r"Could not download .*: no data arrived for 0\.3 s") as error:
        fetch()
    assert sentence(error) and nothing_left()


@pytest.fixture
def dripping(quick):
    """RetryPolicy that wants 20 kB/s; and none that would end it otherwise."""
    return replace(quick, read=5.0, span=0.5, least=10_000, tries=2)


def test_a_file_that_drips_is_given_up_and_continued_next_time(server, file, dripping):
    server.blob_faults = [Fault("drip", 10, times=ALWAYS)]
    begin = time.monotonic()
    with pytest.raises(NgbError, match=r"because it is slower than 10 kB in 0\.5 s; the same") as error:
        fetch_files(TEXT, instance=server.api, retry=dripping)
    assert sentence(error) and time.monotonic() - begin < 4
    (part,) = Store().parts()
    assert 0 < part.stat().st_size < 20_000
    server.blob_faults.clear()
    assert fetch_files(TEXT, instance=server.api, retry=dripping).files[0].read_bytes() == file.data
    assert int(server.ranges()[-1][6:-1]) > 0


def test_a_file_that_comes_slowly_is_waited_for(server, file, dripping):
    server.blob_faults = [Fault("drip", 2000, times=ALWAYS)]
    assert fetch_files(TEXT, instance=server.api, retry=dripping).files[0].read_bytes() == file.data
    assert server.ranges() == [None]


def test_an_api_that_drips_is_given_up(server, dripping):
    server.api_faults = [Fault("drip", 10, times=ALWAYS)]
    begin = time.monotonic()
    with pytest.raises(NgbError, match=r": it is slower than 10 kB in 0\.5 s; try again") as error:
        fetch_files(TEXT, instance=server.api, retry=dripping)
    assert sentence(error) and time.monotonic() - begin < 4


def test_what_was_begun_with_wrong_bytes_is_fetched_anew(server, fetch, file):
    part = Store().unfinished / f"{file.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)
    assert fetch().files[0].read_bytes() == file.data
    asked = server.ranges()
    assert asked[0] == "bytes=100000-" and asked[-1] is None


def test_a_part_that_is_too_long_is_fetched_anew(server, fetch, file):
    part = Store().unfinished / f"{file.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(file.data + b"more")
    assert fetch().files[0].read_bytes() == file.data


def test_a_part_that_is_complete_needs_no_byte_more(server, fetch, file):
    part = Store().unfinished / f"{file.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(file.data)
    assert fetch().files[0].read_bytes() == file.data
    assert server.count("blob") == 0


# -- sizes that lie ----------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [199_999, 200_001, 3])
def test_a_size_that_lies_is_refused_before_the_body(server, fetch, file, announced):
    file.size = announced
    with pytest.raises(
        CorruptFileError, match=rf"has 200000 bytes instead of the announced {announced}"
    ) as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_a_body_without_end_is_cut_at_the_announced_size(server, fetch):
    server.blob_faults = [Fault("endless", times=ALWAYS)]
    with pytest.raises(CorruptFileError, match="is longer than the 200000 bytes") as error:
        fetch()
    assert sentence(error) and nothing_left()


@pytest.mark.parametrize("length", [10, 300_000])
def test_a_length_that_differs_from_the_size_is_refused(server, fetch, length):
    server.blob_faults = [Fault("length", length, times=ALWAYS)]
    with pytest.raises(
        CorruptFileError, match=f"has {length} bytes instead of the announced 200000"
    ) as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_more_than_the_disk_holds_is_refused_before_it_begins(server, fetch, file):
    file.size = 4 << 40
    with pytest.raises(NgbError, match=f"{PATH} needs 4398047 MB, and the disk") as error:
        fetch()
    assert sentence(error) and nothing_left() and server.count("blob") == 0


# -- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "put your token into the variable NGB_DANDI_TOKEN"),
        (403, "requires authorisation"),
        (404, f"has no dandiset {SET}"),
        (429, "it answers 429 Too Many Requests; check your network"),
        (500, "it answers 500 Internal Server Error"),
        (418, "the server answers 418"),
    ],
)
def test_an_api_that_refuses_is_one_sentence(server, fetch, status, says):
    server.api_faults = [Fault("status", status, times=ALWAYS)]
    with pytest.raises(NgbError) as error:
        fetch()
    assert says in sentence(error) and nothing_left()
    assert server.count("api") == (3 if status in (429, 500) else 1)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "the server answers 401"),
        (403, "the server answers 403"),
        (404, f"{PATH} is no longer at "),
        (429, "it answers 429"),
        (500, "it answers 500"),
        (503, "it answers 503"),
    ],
)
def test_a_store_that_refuses_is_one_sentence_without_the_signature(server, fetch, status, says):
    server.blob_faults = [Fault("status", status, times=ALWAYS)]
    with pytest.raises(NgbError) as error:
        fetch()
    assert says in sentence(error) and SIGNATURE not in str(error.value) and nothing_left()


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server, fetch, file):
    server.api_faults = [Fault("status", 503), Fault("status", 429)]
    server.blob_faults = [Fault("status", 500), Fault("status", 429)]
    assert fetch().files[0].read_bytes() == file.data


def test_no_server_at_all(fetch, server):
    server.close()
    with pytest.raises(NgbError, match=": the connection failed; check your network") as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_an_api_that_stalls_ends_after_the_timeout(server, fetch):
    server.api_faults = [Fault("stall", times=ALWAYS)]
    begin = time.monotonic()
    with pytest.raises(NgbError, match=r"no data arrived for 0\.3 s") as error:
        fetch()
    assert sentence(error) and time.monotonic() - begin < 4


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", b"", b"[]", b"{}", b'{"identifier": 5}', b"\xff\xfe"]
)
def test_an_answer_that_is_not_dandis_is_one_sentence(server, fetch, body):
    server.api_faults = [Fault("body", body, times=ALWAYS)]
    with pytest.raises(NgbError, match="returned an invalid response") as error:
        fetch()
    assert sentence(error) and nothing_left()


def test_an_answer_without_end_is_not_read(server, fetch, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.data.dandi.http.MOST_BYTES", 1 << 20)
    server.api_faults = [Fault("body", b" " * (2 << 20), times=ALWAYS)]
    with pytest.raises(NgbError, match="returned more than 1 MB instead of a list") as error:
        fetch()
    assert sentence(error)


def test_a_list_without_end_is_not_followed(server, quick, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.data.dandi.client.MOST_FILES", 4)
    with pytest.raises(NgbError, match="lists more than 4 files; use a narrower pattern"):
        list_files(f"dandi:{SET}", instance=server.api, retry=quick)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/blob", "http://192.0.2.7/blob", "file:///etc/passwd", "ftp://127.0.0.1/x"],
)
def test_a_redirect_to_another_host_without_encryption_is_not_followed(server, fetch, url):
    """No connection is tried: the fixture ``alone`` would fail the test."""
    for faults in (server.blob_faults, server.api_faults):
        faults[:] = [Fault("redirect", url, times=ALWAYS)]
        with pytest.raises(NgbError) as error:
            fetch()
        says = ("is not an https address", "failed (", "invalid response (InvalidSchema)")
        assert any(words in sentence(error) for words in says)
        assert nothing_left()
        faults.clear()


def test_a_public_archive_may_not_point_to_this_machine(server, quick):
    from neurobench_grasp.data.dandi.http import Guard

    guard = Guard("https://api.example.org/api", None, quick)
    with pytest.raises(NgbError, match="is not an https address"):
        guard._check(f"{server.root}/internal")


def test_redirects_in_a_circle_end(server, fetch):
    server.api_faults = [Fault("redirect", server.api + "/info/", times=ALWAYS)]
    with pytest.raises(NgbError, match="too many redirects") as error:
        fetch()
    assert sentence(error)
    server.api_faults = []
    server.blob_faults = [Fault("redirect", server.blob_root + "/again", times=ALWAYS)]
    with pytest.raises(NgbError, match=r"The request to .* failed") as error:
        fetch()
    assert sentence(error) and nothing_left()


@pytest.mark.parametrize(
    "path", ["../../evil.nwb", "/etc/evil.nwb", "a/../../evil.nwb", "a\\..\\evil.nwb", "a/\x1b[2J.nwb"]
)
def test_a_path_that_leads_out_is_refused(server, fetch, tmp_path, path):
    server.add("000777", "draft", File("good.nwb", b"good"), File(path, b"evil"))
    with pytest.raises(NgbError, match="is outside its folder") as error:
        fetch("dandi:000777@draft/*.nwb")
    assert sentence(error) and nothing_left() and server.count("blob") == 0
    assert "\x1b" not in str(error.value)
    assert not list(tmp_path.rglob("*evil*"))
    assert fetch("dandi:000777@draft/good.nwb").files[0].read_bytes() == b"good"


@pytest.mark.parametrize(
    "change", [{"id": "../../../server-info"}, {"etag": "../../evil"}, {"sha256": "../../evil"}, {"size": -1}]
)
def test_what_would_become_part_of_a_name_is_looked_at(server, fetch, file, monkeypatch, change):
    """An identifier or digest of another form is refused before it is part of a URL or a file's name."""
    for name, value in change.items():
        setattr(file, name, value)
    if "id" in change:
        monkeypatch.setattr(
            "dandi.dandiapi.RemoteBlobAsset.get_raw_metadata",
            lambda self: {"digest": {"dandi:dandi-etag": file.etag}},
        )
    with pytest.raises(CorruptFileError, match="invalid response") as error:
        fetch()
    assert sentence(error) and nothing_left()


# -- the disk ----------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_leaves_nothing(server, fetch, file, monkeypatch):
    write = Part.write

    def full(self, data):
        if self.size > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data[:60_000])
        write(self, data[60_000:])

    monkeypatch.setattr("neurobench_grasp.data.dandi.download.CHUNK", 50_000)
    monkeypatch.setattr(Part, "write", full)
    with pytest.raises(NgbError, match="No space left on device") as error:
        fetch()
    assert "and was removed; free some space" in sentence(error) and nothing_left()
    monkeypatch.setattr(Part, "write", write)
    assert fetch().files[0].read_bytes() == file.data


def test_a_real_full_device_is_one_sentence(server, quick, tmp_path, monkeypatch):
    """/dev/full takes no byte, as a full disk."""
    found = fetch_files(TEXT, instance=server.api, retry=quick).found

    with Path("/dev/full").open("ab", buffering=0) as device:
        part = Part(tmp_path / "a.part", device)
        part.path.touch()
        monkeypatch.setattr(part, "clear", lambda: setattr(part, "size", 0))
        with pytest.raises(NgbError, match="No space left on device") as error:
            download(server.api, found.assets[0], part, quick)
    assert sentence(error)


def test_a_cache_that_cannot_be_written_is_said(server, fetch, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "file"))
    with pytest.raises((NgbError, OSError)) as error:
        fetch()
    assert "file" in str(error.value)


# -- processes ---------------------------------------------------------------------------------------

RUN = """
import sys
from neurobench_grasp.data.dandi import fetch_files
fetched = fetch_files(sys.argv[1], instance=sys.argv[2], progress=lambda text: print(text, flush=True))
print(*fetched.files)
"""


def process(server, text=TEXT):
    command = [sys.executable, "-c", RUN, text, server.api]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_kill_9_in_mid_download_then_the_next_run_continues(server, file):
    server.blob_faults = [Fault("stall", 130_000)]
    running = process(server)
    store = Store()
    part = store.unfinished / f"{file.sha256}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 130_000):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert store.all() == [] and store.parts() == [part]
    fetched = fetch_files(TEXT, instance=server.api)
    assert fetched.files[0].read_bytes() == file.data
    assert server.ranges()[-1] == "bytes=130000-"
    assert store.parts() == []


def test_two_processes_at_once_download_once(server, file):
    server.blob_faults = [Fault("end", 90_000)]
    running = [process(server) for _ in range(2)]
    outputs = [p.communicate(timeout=60) for p in running]
    assert [p.returncode for p in running] == [0, 0], outputs
    paths = {out.splitlines()[-1] for out, _ in outputs}
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == file.data
    assert server.ranges() == [None, "bytes=90000-"]
    assert Store().parts() == []


def test_a_second_process_waits_for_the_first_and_says_so(quick, tmp_path):
    said, order = [], []
    place = tmp_path / "a.part"
    with claimed(place, quick, lambda: None) as first:

        def second():
            with claimed(place, quick, lambda: said.append("waiting")) as part:
                order.append(("second", part.size))

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        first.write(b"content")
        order.append(("first", first.size))
        place.rename(tmp_path / "finished.nwb")
    thread.join()
    assert said == ["waiting"]
    assert order == [("first", 7), ("second", 0)]
    assert (tmp_path / "finished.nwb").read_bytes() == b"content"
    assert not place.exists()


def test_without_locks_each_process_has_a_part_of_its_own(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.locks.fcntl", None)
    with (
        claimed(tmp_path / "a.part", quick, lambda: None) as first,
        claimed(tmp_path / "a.part", quick, lambda: None) as second,
    ):
        first.write(b"1")
        assert first.path != second.path and second.size == 0
    assert list(tmp_path.glob("a-*.part")) == []


def test_files_that_another_process_removes_are_absent_and_no_error(fetch, monkeypatch):
    """Whenever it does: after the folder was seen, after the file was, or before it is read."""
    for moment in ("folder", "file", "content"):
        fetch()
        store = Store()
        (cached,) = store.all()
        removed = partial(shutil.rmtree, cached.path.parent)
        if moment == "content":
            removed()
            assert not cached.is_valid()
            continue
        glob = Path.glob

        def gone(self, pattern, glob=glob, moment=moment, removed=removed):
            found = list(glob(self, pattern))
            if pattern == ("*" if moment == "folder" else "from-*.json"):
                removed()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(Path, "glob", gone)
            assert store.all() == []
        assert store.all() == []


def test_one_file_that_fails_stops_the_others_and_what_is_complete_stays(server, fetch, file):
    file.sha256 = "0" * 64
    with pytest.raises(CorruptFileError, match=PATH):
        fetch(f"dandi:{SET}/*")
    complete = {c.origins[0].path for c in Store().all()}
    assert PATH not in complete
    file.sha256 = ""
    assert len(fetch(f"dandi:{SET}/*").files) == 3


# -- secrets -----------------------------------------------------------------------------------------


@pytest.fixture
def closed(monkeypatch):
    """An embargoed archive and its token in the environment."""
    monkeypatch.setenv("NGB_DANDI_TOKEN", SECRET)
    with archive(token=SECRET) as made:
        made.add(SET, PUBLISHED, File(PATH, b"embargoed" * 1000))
        yield made


def everything(folder):
    return "".join(p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file())


def test_the_token_opens_an_embargoed_set_and_goes_to_the_api_alone(closed, quick, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    fetched = fetch_files(TEXT, instance=closed.api, retry=quick, progress=print)
    assert fetched.files[0].read_bytes() == b"embargoed" * 1000
    with_token = {
        port for port, *_, headers in closed.seen if headers.get("Authorization") == f"token {SECRET}"
    }
    assert with_token == {"api"}
    assert not any(SECRET in json.dumps(seen[1:]) for seen in closed.seen if seen[0] == "blob")
    for text in (
        json.dumps(fetched.source),
        repr(fetched),
        everything(tmp_path),
        caplog.text,
        *capfd.readouterr(),
    ):
        assert SECRET not in text
    for text in (json.dumps(fetched.source), everything(tmp_path)):
        assert SIGNATURE not in text


@pytest.mark.parametrize(
    ("port", "fault"),
    [
        ("api", Fault("status", 500, times=ALWAYS)),
        ("api", Fault("status", 403, times=ALWAYS)),
        ("api", Fault("body", b"not JSON", times=ALWAYS)),
        ("blob", Fault("status", 403, times=ALWAYS)),
        ("blob", Fault("status", 500, times=ALWAYS)),
        ("blob", Fault("stall", times=ALWAYS)),
        ("blob", Fault("end", 0, times=ALWAYS)),
        ("blob", Fault("corrupt", 5, times=ALWAYS)),
        ("blob", Fault("redirect", f"http://example.org/?{SIGNATURE}", times=ALWAYS)),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_no_failure_shows_the_token_or_a_signature(closed, quick, tmp_path, caplog, capfd, port, fault):
    """Nor does its traceback, nor what the package dandi logs."""
    getattr(closed, f"{port}_faults").append(fault)
    with pytest.raises(NgbError) as error:
        fetch_files(TEXT, instance=closed.api, retry=quick)
    shown = io.StringIO()
    traceback.print_exception(error.value, file=shown)
    for text in (str(error.value), shown.getvalue(), everything(tmp_path), caplog.text, *capfd.readouterr()):
        assert SECRET not in text and SIGNATURE not in text
    assert caplog.text == ""


def test_a_wrong_token_is_said_without_showing_it(closed, quick, monkeypatch):
    monkeypatch.setenv("NGB_DANDI_TOKEN", "wr0ng-t0ken")
    with pytest.raises(NgbError, match="does not accept the token in NGB_DANDI_TOKEN") as error:
        fetch_files(TEXT, instance=closed.api, retry=quick)
    assert "wr0ng" not in sentence(error)
    monkeypatch.delenv("NGB_DANDI_TOKEN")
    with pytest.raises(NgbError, match="put your token into the variable NGB_DANDI_TOKEN") as error:
        fetch_files(TEXT, instance=closed.api, retry=quick)
    assert sentence(error)


def test_the_token_does_not_follow_a_redirect_or_a_next_page_to_another_host(closed, quick):
    with archive() as other:
        other.versions = closed.versions
        closed.api_faults = [Fault("redirect", f"{other.api}/dandisets/{SET}/")]
        fetch_files(TEXT, instance=closed.api, retry=quick)
        assert other.count("api") == 1
        assert not any("Authorization" in headers for *_, headers in other.seen)


def test_each_archive_has_a_token_of_its_own():
    production = "https://api.dandiarchive.org/api"
    both = {"DANDI_API_KEY": "ours", "NGB_DANDI_TOKEN": "theirs"}
    assert token_for(production, both).header() == "token ours"
    assert token_for("https://dandi.example.org/api", both).header() == "token theirs"
    assert token_for(production, {"NGB_DANDI_TOKEN": "theirs"}) is None
    assert "ours" not in repr(token_for(production, both))
    with pytest.raises(NgbError, match="NGB_DANDI_TOKEN has invalid characters") as error:
        token_for("https://dandi.example.org/api", {"NGB_DANDI_TOKEN": "two words\nand a line"})
    assert "words" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "dandi",
        "ftp://a.org/api",
        "http://example.org/api",
        "https://u:pw@a.org/api",
        "https://",
        "https://a.org:x/",
    ],
)
def test_an_archive_must_have_a_safe_address(url):
    with pytest.raises(NgbError) as error:
        checked_instance(url)
    assert "pw" not in sentence(error)
    assert checked_instance(" https://A.org/api/ ") == "https://a.org/api"


# -- what is not installed ---------------------------------------------------------------------------


def test_without_the_package_dandi_the_sentence_says_how_to_have_it(server, fetch, monkeypatch):
    first = fetch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "dandi" else object())
    with pytest.raises(NgbError, match=r"pip install 'neurobench-grasp\[dandi\]'") as error:
        fetch(f"dandi:{SET}/*")
    assert sentence(error)
    assert fetch() == first  # what is in the cache needs neither package nor network


def test_no_silent_server_holds_a_program_up():
    """Neither when one of several things fails, nor at its end."""
    code = """
import time
from neurobench_grasp.data.dandi.thread_pool import run_in_threads

def work(thing):
    if thing:
        time.sleep(120)
    raise ValueError(thing)

try:
    run_in_threads(work, [1, 0, 2], 3, lambda: print("stop"))
except ValueError as error:
    print("first error", error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "stop\nfirst error 0\n" and result.returncode == 0


def test_several_at_once_keep_their_order():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.02 * (number == 0))
        return number * 10

    assert run_in_threads(work, range(9), 3) == [10 * i for i in range(9)]
    assert sorted(begun) == list(range(9)) and run_in_threads(work, [], 3) == []


def test_ctrl_c_stops_the_downloads(server, fetch, monkeypatch):
    server.blob_faults = [Fault("stall", 1000, times=ALWAYS)]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("neurobench_grasp.data.dandi.thread_pool.wait", interrupted)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(f"dandi:{SET}/*")
    assert time.monotonic() - begin < 4
    assert Store().all() == []
