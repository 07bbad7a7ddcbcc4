"""The documentation as a site: complete, without broken links, and without anything from elsewhere."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
import typer

import neurobench_grasp
from neurobench_grasp import hookspecs
from neurobench_grasp.cli import app
from neurobench_grasp.data.nwb.layout import Layout
from neurobench_grasp.leaderboard.site.glossary import METRICS
from neurobench_grasp.plugins import load_registry

pytestmark = pytest.mark.slow
LOADED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """Places of a page, its links, and what a browser loads with it."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links, self.loaded = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") != "canonical":
            self.loaded.append(given[LOADED[tag]])


page_of = cache(Page)


def pages(site):
    return sorted(p for p in site.rglob("*.html") if p.name != "404.html")


def text(site, name):
    return re.sub(r"<[^>]+>", "", (site / name).read_text())


def broken(site):
    """Every link or picture that does not exist, as ``page: address``."""
    for path in pages(site):
        page = page_of(path)
        for address in (*page.links, *page.loaded):
            url = urlsplit(address)
            if url.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            exists = target.is_file()
            lacks_place = (
                exists
                and url.fragment
                and target.suffix == ".html"
                and unquote(url.fragment) not in page_of(target).places
            )
            if not exists or lacks_place:
                yield f"{path.relative_to(site)}: {address}"


def test_no_link_is_broken(built):
    assert len(pages(built)) > 40 and not list(broken(built))


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "index.html").write_text('<p id="a"><a href="#a">1</a><a href="#b">2</a><img src="none.png">')
    assert list(broken(tmp_path)) == ["index.html: #b", "index.html: none.png"]


def test_nothing_is_loaded_from_elsewhere(built):
    elsewhere = {
        url
        for path in pages(built)
        for url in page_of(path).loaded
        if urlsplit(url).scheme in ("http", "https") or url.startswith("//")
    }
    assert not elsewhere
    assert not [p for p in built.rglob("*.css") if re.search(r"url\(['\"]?(https?:)?//", p.read_text())]


def test_every_command_is_described(built):
    def walk(command, name):
        yield name
        for word, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {word}")

    described = page_of(built / "reference/cli.html").places
    names = list(walk(typer.main.get_command(app), "ngb"))
    assert len(names) > 25 and not {name.replace(" ", "-") for name in names} - described


def test_every_public_name_hook_and_field_is_described(built):
    everything = {place for path in pages(built) for place in page_of(path).places}
    offered = [getattr(neurobench_grasp, name) for name in neurobench_grasp.__all__]
    classes = [
        x for x in offered if hasattr(x, "__qualname__") and x.__module__.startswith("neurobench_grasp")
    ]
    assert len(classes) > 20 and not {f"{x.__module__}.{x.__qualname__}" for x in classes} - everything
    hooks = {f"{hookspecs.__name__}.{name}" for name in vars(hookspecs) if name.startswith("ngb_")}
    assert len(hooks) >= 5 and not hooks - everything
    fields = text(built, "reference/layout.html")
    assert not [name for name in Layout.__dataclass_fields__ if name not in fields]


def test_every_metric_protocol_and_body_is_described(built):
    metrics = text(built, "reference/metrics.html")
    registry = load_registry()
    ours = [p for p in registry.protocols() if p.distribution == "neurobench-grasp"]
    assert not [name for name in (*METRICS, *(p.spec.name for p in ours)) if name not in metrics]
    bodies = text(built, "bodies.html")
    assert not [
        p.spec.name
        for p in registry.bodies()
        if p.distribution == "neurobench-grasp" and p.spec.name not in bodies
    ]


def test_the_session_was_scored_and_is_a_notebook(built):
    """The output of the code that was run: the joints suggested, the leading model, a picture."""
    notebook = json.loads((built / "first_session.ipynb").read_text())
    outputs = [
        output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]
    ]
    refused = next(output["text"] for output in outputs if output["output_type"] == "stream")
    assert "23 of 23 columns" in refused and "'ring_pip_flex': ('pm4_flexion', 1.0, 0.0)" in refused
    shown = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    rows = re.findall(r"linear_kinematic +([\d.]+) +([\d.]+)", shown[0]["text/plain"])
    assert len(rows) == 2 and all(float(ev) > 0.05 for row in rows for ev in row)  # M1 and S1, test and ood
    assert shown[1]["image/png"].startswith("iVBOR")
    assert [*(built / "images").glob("first_session-*.png")]
