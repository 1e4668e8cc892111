"""The documentation as a site: it is built without a warning, and asks no server of others for anything."""

import html
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

PROJECT = Path(__file__).parents[2]
TAGS = "script|link|img|iframe|source|audio|video|object|embed"
LOADED = rf"""<(?:{TAGS})\b[^>]*?(?:src|href|data)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)"""
BY_STYLE = r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)"""


def foreign(text: str) -> list[str]:
    """Addresses of others that a browser asks by itself for a page, or by a style."""
    return re.findall(LOADED, text, re.I) + re.findall(BY_STYLE, text, re.I)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does it; a warning fails it."""
    made = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^\t@(sphinx-build .*)$", (PROJECT / "Makefile").read_text(), re.M)
    assert recipe
    command = recipe[1].replace("build/doctrees", str(made / "doctrees")).replace("build/docs", str(made / "site")).split()
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *command[1:]], cwd=PROJECT, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return made / "site"


def test_the_site_is_built_and_begins_with_the_front_page(site: Path) -> None:
    assert "url=docs/index.html" in (site / "index.html").read_text()
    for page in [*(PROJECT / "docs").rglob("*.md"), *(PROJECT / "notebooks").glob("*.ipynb")]:
        assert (site / page.relative_to(PROJECT)).with_suffix(".html").exists(), page


def broken(site: Path) -> list[tuple[str, str]]:
    """(page, link) of every link and picture of the site that leads to no file, or to no place in it."""
    texts = {page: page.read_text() for page in site.rglob("*.html")}
    places = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    found = []
    for page, text in texts.items():
        for link in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            name, _, place = unquote(html.unescape(link)).partition("#")
            target = (page.parent / name.partition("?")[0]).resolve() if name else page
            if re.match(r"[a-z]+:", name) or (target in places and place in places[target] | {""}):
                continue
            if target in places or not target.exists():
                found.append((page.name, link))
    return found


def test_every_link_of_the_site_leads_to_a_place_that_is_there(site: Path) -> None:
    assert broken(site) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"><a href="#x"> <a href="b.html#y"> <a href="c.html"> <a href="https://d/">')
    (tmp_path / "b.html").write_text('<p id="z"><a href="a.html#x"> <img src="e.png">')
    assert sorted(broken(tmp_path)) == [("a.html", "b.html#y"), ("a.html", "c.html"), ("b.html", "e.png")]


def test_no_page_of_the_site_asks_another_server(site: Path) -> None:
    pages = [p for p in site.rglob("*") if p.suffix in (".html", ".css")]
    assert {p.suffix for p in pages} == {".html", ".css"}
    assert {p.name: found for p in pages if (found := foreign(p.read_text()))} == {}


def test_what_would_ask_another_server_is_found() -> None:
    assert foreign('<script src="https://a/x.js">') == ["https://a/x.js"]
    assert foreign("<link rel=stylesheet href=//b/y.css>") == ["//b/y.css"]
    assert foreign("@import 'https://c/z.css'; p { background: url(https://d/w.png) }") == ["https://c/z.css", "https://d/w.png"]
    assert foreign('<a href="https://e/">e</a> <img src="_images/f.png">') == []
