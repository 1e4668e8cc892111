"""A report as PDF for printing and filing, made from its HTML by an installed Chromium: tagged, with bookmarks and page numbers.

The plain command line does all of it: page numbers are margin boxes of the page's own style (CSS Paged Media), title and
language come from the HTML.
"""

import os
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.check import Check
from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal import unprivileged
from hikkoshi.run.step import REPORT

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")  # Debian and Red Hat, older Ubuntu, Google's own
BROWSER = "install Chromium and fonts-noto-cjk"
REMEDY = f"{BROWSER}, then run {REPORT} again; the HTML prints too"
TITLE, EXPECTED = "the report is there as PDF", "a PDF, whole to its end"
LIMIT = 120  # seconds
OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # and so no network, whatever the page says
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)


def path(html: Path) -> Path:
    """Where the PDF of a report is: beside its HTML."""
    return html.with_suffix(".pdf")


def browser() -> str:
    """The Chromium to use; `ToolFailed` where there is none."""
    for program in PROGRAMS:
        try:
            return tool.find(program)
        except ToolFailed as e:
            missing = e
    raise missing


def write(html: Path) -> Check:
    """Print the HTML to the PDF beside it. Without a Chromium that can, there is none, and the check says what is missing.

    An older PDF is removed first: it would tell of another report.
    """
    made = path(html)
    made.unlink(missing_ok=True)
    try:
        content = printed(html)
    except ToolFailed as e:
        problem = e.problems[0]
        return Check(
            code="report-pdf",
            title=TITLE,
            ok=False,
            found=problem.found or problem.what,
            expected=EXPECTED,
            remedy=REMEDY,
            where=str(made),
        )
    if _whole(content):
        files.write(made, content)
    return complete(html)


def complete(html: Path) -> Check:
    """Whether the PDF is there, whole. It is of this very HTML: `write` alone makes it, right after."""
    made = path(html)
    there = made.is_file() and _whole(made.read_bytes())
    return Check(
        code="report-pdf",
        title=TITLE,
        ok=there,
        found=files.human(made.stat().st_size) if there else "no PDF",
        expected=EXPECTED,
        remedy=REMEDY,
        where=str(made),
    )


def sandbox() -> tuple[list[str], str]:
    """Chromium's options about its own sandbox, and in words how it is kept in.

    It needs user namespaces, which some containers have not; and as root it starts without a sandbox only. Then what is
    left is that it runs as a user without rights, or as root nothing.
    """
    if os.geteuid() != 0:
        return [], "its own sandbox"
    if unprivileged.user() is None:
        return ["--no-sandbox"], "no sandbox, and as root: nobody may change the user here"
    if not unprivileged.namespaces():
        return ["--no-sandbox"], "a user without rights, no sandbox of its own: there are no user namespaces here"
    return [], "its own sandbox, as a user without rights"


def printed(html: Path) -> bytes:
    """The PDF; `ToolFailed` without a Chromium that can. The browser sees a copy of the HTML, and nothing else of ours."""
    with unprivileged.folder("pdf") as fresh:
        copy, made = fresh / "report.html", fresh / "report.pdf"
        copy.write_bytes(html.read_bytes())
        unprivileged.give(copy)
        own = [f"--user-data-dir={fresh}/profile", f"--print-to-pdf={made}"]
        home = {name: str(fresh) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")}
        argv = [browser(), *OPTIONS, *sandbox()[0], *own, copy.as_uri()]
        tool.run(argv, timeout=LIMIT, cwd=fresh, env=home, rights=unprivileged.rights())
        return unprivileged.read(made)


def _whole(content: bytes) -> bool:
    return content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
