"""A site of planted records, some of them hostile, and a real browser to open it with."""

import functools
import http.server
import json
import os
import threading
from pathlib import Path

import pytest
from compared import write
from planted_board import FACTS, planted

from neurobench_grasp.leaderboard.site import build_site

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A run folder with the records, and a video beside them."""
    folder = tmp_path_factory.mktemp("run")
    write(folder / "records", *planted())
    (folder / "muscle-trial_1.mp4").write_bytes(b"not really a video")
    (folder / "muscle-trial_1.gif").write_bytes(
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
        b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    )
    return folder


@pytest.fixture(scope="session")
def site(runs, tmp_path_factory):
    """Folder of the built site."""
    return build_site([runs], tmp_path_factory.mktemp("web") / "site", FACTS).index.parent


@pytest.fixture(scope="session")
def board(site):
    """What ``board.json`` has: kind, area and dataset → models by name."""
    boards = json.loads((site / "board.json").read_text())["boards"]
    return {(b["kind"], b["area"], b["dataset"]): {m["model"]: m for m in b["models"]} for b in boards}


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by Playwright."""
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "there is no /usr/bin/chromium: apt-get install chromium"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def served(site):
    """Address of a web server that gives the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Opened:
    """A page that was opened, and what went wrong on it."""

    def __init__(self, page, base):
        self.page, self.base, self.messages, self.asked = page, base, [], []
        page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        page.on(
            "dialog", lambda dialog: (self.messages.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.messages.append(f"failed: {request.url}"))

    def go(self, name):
        self.page.goto(self.base + name)
        return self.page

    @property
    def outside(self):
        """Requests that left the site."""
        return [url for url in self.asked if not url.startswith(self.base)]


@pytest.fixture
def opened(browser, site):
    """Open pages: ``opened(base=None, **options)`` gives a page over file://, or from another base."""
    contexts = []

    def open_page(base=None, width=1400, height=900, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        return Opened(contexts[-1].new_page(), base or site.as_uri() + "/")

    yield open_page
    for context in contexts:
        context.close()
