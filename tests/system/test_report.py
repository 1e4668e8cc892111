"""The report in a real browser: it asks for nothing, and its PDF is one that can be read aloud, searched and filed."""

import contextlib
import itertools
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hikkoshi.params.home import Home
from hikkoshi.report import pdf, report
from processes import PATIENCE

pytestmark = pytest.mark.needs(
    "chromium", "pdfinfo", "pdftotext", "pdffonts", "root", "vcsim", "python:pypdf", "qemu-system-x86_64"
)


LAST = "nobody asks any more"


class Proxy:
    """Every http and https request of a browser comes here, and gets no answer.

    `asked` are their first lines; all of them once it is closed.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (line := self._asked()) != LAST:
            self.asked.append(line)

    def _asked(self) -> str:
        connection, _ = self._socket.accept()
        with connection, contextlib.suppress(ConnectionError):
            return connection.recv(4096).decode(errors="replace").partition("\r\n")[0]
        return ""

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:  # behind all others
            last.sendall(LAST.encode())
            self._thread.join()
        self._socket.close()


def requests_of(page: Path) -> list[str]:
    """What a browser asks the network for when it opens a page; the browser's own errands are left out."""
    proxy = Proxy()
    with contextlib.closing(proxy), tempfile.TemporaryDirectory() as fresh:
        options = [o for o in pdf.OPTIONS if "resolver" not in o and "pdf" not in o]
        subprocess.run(
            [
                "chromium",
                *options,
                "--no-sandbox",
                f"--user-data-dir={fresh}",
                f"--proxy-server=http://127.0.0.1:{proxy.port}",
                "--proxy-bypass-list=<-loopback>",
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    # a connection on which nothing is asked is one that the browser opened ahead, for its own requests
    return [line for line in proxy.asked if line and not re.search(r"google|gstatic|chrome|debian", line)]


CONTROL = """<!DOCTYPE html><title>control</title>{policy}
<img src="http://elsewhere.invalid/counted.png" alt=""><link rel="stylesheet" href="http://elsewhere.invalid/style.css">
<style>@import "http://127.0.0.1:1/style.css"; body {{ background: url(http://elsewhere.invalid/ground.png) }}</style>"""


def test_the_report_asks_for_nothing_and_a_page_that_does_is_caught(moved: Home, tmp_path: Path) -> None:
    assert requests_of(report.path(moved, "gateway")) == []
    control, forbidden = tmp_path / "control.html", tmp_path / "forbidden.html"
    control.write_text(CONTROL.format(policy=""))
    assert any("elsewhere.invalid/counted.png" in line for line in requests_of(control))
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', report.path(moved, "gateway").read_text())
    assert policy is not None
    forbidden.write_text(CONTROL.format(policy=policy[0]))
    assert requests_of(forbidden) == [], "the report's own policy forbids what somebody may write into it"


def test_the_printing_browser_has_no_network(tmp_path: Path) -> None:
    proxy, page = Proxy(), tmp_path / "page.html"
    with contextlib.closing(proxy):
        page.write_text(f'<!DOCTYPE html><title>t</title><img src="http://127.0.0.1:{proxy.port}/counted.png" alt="">')
        assert pdf.write(page)
    assert proxy.asked == []


@dataclass(frozen=True)
class Printed:
    """A PDF as other programs read it."""

    path: Path
    info: str
    pages: list[str]
    fonts: list[str]

    @classmethod
    def read(cls, path: Path) -> "Printed":
        def told(*argv: str) -> str:
            return subprocess.run([*argv], capture_output=True, text=True, check=True, timeout=PATIENCE).stdout

        pages = told("pdftotext", "-layout", str(path), "-").split("\f")[:-1]
        return cls(path, told("pdfinfo", str(path)), pages, told("pdffonts", str(path)).splitlines()[2:])


@pytest.fixture(scope="module", params=["en", "ja"])
def printed(request: pytest.FixtureRequest, moved: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """The gateway's report: as 90-report printed it, and the same printed in Japanese."""
    if request.param == "en":
        yield Printed.read(pdf.path(report.path(moved, "gateway")))
        return
    root = tmp_path_factory.mktemp("japanese")
    shutil.copytree(moved.root / "params", root / "params")
    images = shutil.ignore_patterns("disk", "*.img", "*.vmdk")  # 64 GiB that are holes where they are now
    shutil.copytree(moved.folder("gateway"), root / "outputs" / "guests" / "gateway", ignore=images)
    shutil.copytree(moved.root / "outputs" / "keys", root / "outputs" / "keys")  # by which approvals are judged
    site = root / "params" / "site.yml"
    site.write_text(site.read_text().replace("lang: en", "lang: ja"))
    written = report.write(Home(root), "gateway")
    assert pdf.write(written)
    yield Printed.read(pdf.path(written))


WORDS = {  # the end of the first page, the beginning of the second, the title, a heading, the verdict
    "en": (
        "This file alone is not signed",
        "Open points, and what is not proved",
        "gateway: from Xen to vSphere",
        "Outage during the cut-over",
        "In service on vSphere.",
    ),
    "ja": (
        "このファイル自体には署名がない",
        "未解決事項および未確認事項",
        "gateway：Xen から vSphere への移行報告",
        "切替時の停止時間",
        "vSphere で稼働中である。",
    ),
}


def lang(printed: Printed) -> str:
    return "ja" if "japanese" in str(printed.path) else "en"


def test_the_first_page_is_one_sheet_of_a4(printed: Printed) -> None:
    end, begin, *_ = WORDS[lang(printed)]
    assert "(A4)" in printed.info
    assert end in printed.pages[0]
    assert begin in printed.pages[1]
    assert "vlan301" in printed.pages[0]
    assert "vlan505" in printed.pages[0]


def test_it_is_tagged_and_has_title_and_language(printed: Printed) -> None:
    import pypdf

    assert re.search(r"^Tagged: +yes$", printed.info, re.M)
    assert re.search(rf"^Title: +{re.escape(WORDS[lang(printed)][2])}$", printed.info, re.M)
    assert pypdf.PdfReader(printed.path).trailer["/Root"]["/Lang"] == lang(printed)  # type: ignore[index]


def test_its_bookmarks_are_the_headings(printed: Printed) -> None:
    import pypdf

    outline = str(pypdf.PdfReader(printed.path).outline)
    *_, title, heading, _ = WORDS[lang(printed)]
    assert title in outline
    assert heading in outline
    assert "70-cutover" in outline


def test_every_page_has_its_number(printed: Printed) -> None:
    assert len(printed.pages) > 5
    for number, page in enumerate(printed.pages, 1):
        assert re.search(rf"\b{number} ?/ ?{len(printed.pages)}\s*$", page), page[-200:]


def test_no_head_of_a_table_is_left_alone_at_the_end_of_a_page(printed: Printed) -> None:
    lines = [[line.split() for line in page.splitlines() if line.strip()][:-1] for page in printed.pages]  # without the foot
    assert [before[-1] for before, after in itertools.pairwise(lines) if before[-1] == after[0]] == []


def test_every_font_is_in_the_file(printed: Printed) -> None:
    assert printed.fonts
    for font in printed.fonts:
        assert re.search(r"\s(yes)\s+(yes|no)\s+(yes|no)\s+\d+\s+\d+$", font), font


def test_its_words_can_be_searched(printed: Printed) -> None:
    *_, heading, verdict = WORDS[lang(printed)]
    assert heading in printed.pages[0]
    assert verdict in printed.pages[0]


def test_what_is_folded_on_the_screen_is_open_on_paper(printed: Printed) -> None:
    assert "/etc/fstab" in "".join(printed.pages)
    assert re.search(r"^\s*-/dev/xvd", "".join(printed.pages), re.M), "a line of a diff"
