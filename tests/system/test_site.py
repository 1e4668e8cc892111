"""The documentation as a site: it is built without a warning, and asks no server of others for anything."""

import re
import subprocess
import sys
from pathlib import Path

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


def test_no_page_of_the_site_asks_another_server(site: Path) -> None:
    pages = [p for p in site.rglob("*") if p.suffix in (".html", ".css")]
    assert {p.suffix for p in pages} == {".html", ".css"}
    assert {p.name: found for p in pages if (found := foreign(p.read_text()))} == {}


def test_what_would_ask_another_server_is_found() -> None:
    assert foreign('<script src="https://a/x.js">') == ["https://a/x.js"]
    assert foreign("<link rel=stylesheet href=//b/y.css>") == ["//b/y.css"]
    assert foreign("@import 'https://c/z.css'; p { background: url(https://d/w.png) }") == ["https://c/z.css", "https://d/w.png"]
    assert foreign('<a href="https://e/">e</a> <img src="_images/f.png">') == []
