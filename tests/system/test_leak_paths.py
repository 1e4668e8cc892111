"""Every path by which a secret could get out of a run: none of them leaks, and each of them would without the protection.

All paths are gone once with the protection and once without (no secret is known, so nothing is masked and nothing is looked
for in what is sealed). Each has a secret of its own, which the site's parameters point to. What comes out is read back by
means of this file, not by the product's.
"""

import base64
import binascii
import copy
import html
import io
import json
import logging
import os
import pickle
import pprint
import re
import shutil
import subprocess
import sys
import textwrap
import traceback
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from hikkoshi.params.home import Home
from hikkoshi.record.engine.execution import Outcome
from hikkoshi.report import report
from hikkoshi.run.journal import Journal
from hikkoshi.secret import leaks
from hikkoshi.secret.masking import Mask
from hikkoshi.secret.reference import Secret
from processes import PATIENCE
from runbooks import execute

PROJECT = Path(__file__).parents[2]
UNPROTECTED = "from hikkoshi.params.home import Home\nHome.secrets = lambda self: []\n"
# the same for the runner, whose terminal is then the kernel's, too
UNPROTECTED_RUNNER = f"""{UNPROTECTED}
from hikkoshi.record.engine.lastwords import LastWords
LastWords.handle = property(lambda self: 2, lambda self, handle: None)
LastWords.close = lambda self: None
from jupyter_client import AsyncKernelManager
AsyncKernelManager.shutdown_wait_time = 600.0  # what a kernel says at its end is heard, however long that takes
"""
PARAMETERS = 'guest = "gateway"  # name\nmode = "plan"\nhome = ""'
OPEN = """
import base64, html, json, logging, os, subprocess, sys, threading, time, traceback, urllib.parse, warnings
import ipywidgets, matplotlib.pyplot as plt
from io import BytesIO
from IPython.display import HTML, JSON, SVG, Image, Javascript, Latex, Markdown, display
from hikkoshi import files, show, tool
from hikkoshi.check import Check
from hikkoshi.errors import *
from hikkoshi.run.run import open_run
run = open_run("40-convert", {k: v for k, v in vars().items() if k in ("guest", "mode", "home")})
"""
END = "run.verify([])\nrun.evidence([])"
LAST = (
    "from hikkoshi.errors import *; raise VSphereError(Problem(code='a-code', what='no', where=s, found=s, expected=s, remedy=s))"
)

# path: what a cell of the runbook does with the secret `s`, whose name in the environment is `n`
SHOWN = {
    "stdout": "print(s)",
    "stderr": "print(s, file=sys.stderr)",
    "print in pieces": "for c in s: print(c, end='', flush=True)",
    "two streams by turns": "print(s[:7], end='', flush=True); print('x', file=sys.stderr, flush=True); print(s[7:])",
    "logging": "logging.getLogger('x').warning('login with %s', s)",
    "warning": "warnings.warn(s)",
    "result": "s",
    "result in a container": "{'login': [('root', s)]}",
    "result as bytes": "s.encode()",
    "HTML": "display(HTML(f'<b>{html.escape(s)}</b>'))",
    "JSON": "display(JSON({s: [s]}))",
    "Markdown": "display(Markdown(f'**{s}**'))",
    "LaTeX": "display(Latex(s))",
    "JavaScript": "display(Javascript('let x = ' + json.dumps(s)))",
    "SVG": "display(SVG(f'<svg xmlns=\"http://www.w3.org/2000/svg\"><text>{html.escape(s)}</text></svg>'))",
    "metadata of a display": "display('x', metadata={'note': s})",
    "update of a display": "h = display('x', display_id=True); h.update(s)",
    "progress": "show.progress(f'to {s}')(1, 2, s)",
    "table": "show.table([{'user': 'root', 'password': s}], caption=s)",
    "folded text": "show.text(s, s)",
    "diff": "show.diff([('/etc/x', f'-{s}\\n+{s}')])",
    "alternative text of a picture": "plt.figure(figsize=(1, 1)); show.figure(plt.gcf(), s); plt.close()",
    "metadata of a PNG": """
        f = BytesIO()
        plt.figure(figsize=(1, 1)).savefig(f, metadata={'Comment': s})
        plt.close()
        display(Image(f.getvalue()))""",
    "value of a widget": "display(ipywidgets.Text(value=s))",
    "description of a widget": "display(ipywidgets.Text(description=s))",
    "bytes of a widget": "display(ipywidgets.Image(value=s.encode()))",
    "traceback": "try: raise RuntimeError(f'login failed: {s}')\nexcept RuntimeError: get_ipython().showtraceback()",
    "arguments of an exception": "try: raise KeyError(1, s)\nexcept KeyError: get_ipython().showtraceback()",
    "cause of an exception": """
        try:
            try: raise ValueError(s)
            except ValueError as e: raise RuntimeError('login failed') from e
        except RuntimeError: get_ipython().showtraceback()""",
    "note of an exception": """
        e = RuntimeError('x'); e.add_note(s)
        try: raise e
        except RuntimeError: get_ipython().showtraceback()""",
    "frames of a verbose traceback": """
        def login(password): raise RuntimeError('login failed')
        get_ipython().InteractiveTB.set_mode('Verbose')
        try: login(s)
        except RuntimeError: get_ipython().showtraceback()
        get_ipython().InteractiveTB.set_mode('Context')""",
    "traceback as a text": "try: raise RuntimeError(s)\nexcept RuntimeError: print(traceback.format_exc())",
    "exception nobody catches in a thread": "def f(): raise RuntimeError(s)\nt = threading.Thread(target=f); t.start(); t.join()",
    "exception ignored": "class D:\n    def __del__(self): raise RuntimeError(s)\nd = D(); del d",
    "environment": "print({k: v for k, v in os.environ.items() if k == n})",
    "magic": "print(get_ipython().run_line_magic('env', n))",
    "shell": "get_ipython().system(f'printenv {n}')",
    "stdout of a child": "subprocess.run(['printenv', n])",
    "file descriptor": "os.write(2, s.encode() + b'\\n'); time.sleep(0.2)",
    "thread": "t = threading.Thread(target=print, args=(s,)); t.start(); t.join()",
    "header of an HTTP login": "print('401 for Authorization: Basic ' + base64.b64encode(f'root:{s}'.encode()).decode())",
    "URL": "print(f'cannot open https://root:{urllib.parse.quote(s, safe=\"\")}@host/sdk')",
    "hexadecimal": "print(s.encode().hex())",
    "JSON as a text": "print(json.dumps({'password': s}))",
    "arguments of a program": "try: tool.run(['false', s])\nexcept ToolFailed as e: print(e)",
    "arguments of a slow program": "try: tool.run(['sh', '-c', 'sleep 9', s], timeout=0.1)\nexcept ToolFailed as e: print(e)",
    "last words of a program": """
        try: tool.run(['sh', '-c', f'printenv {n} >&2; exit 3'], env={n: s})
        except ToolFailed as e: print(e)""",
    "parameter": "try: open_run('40-convert', {'guest': 'gateway', 'password': s})\nexcept BadInput as e: print(e)",
    "check": """
        try: run.preflight([Check(code='a-code', title='x', ok=False, found=s, expected=s, remedy=s, where=s)])
        except Refused as e: print(e)""",
    "title of a check": "run.preflight([Check(code='a-code', title=s, ok=True, found='x')])",
    "found by ensure": "run.ensure('x', holds=lambda: Check(code='a-code', title='x', ok=True, found=s), act=lambda _: None)",
    "title of ensure": "run.ensure(s, holds=lambda: True, act=lambda _: None)",
    "error in ensure": """
        def act(_): raise ToolFailed(Problem(code='a-code', what=s))
        try: run.ensure('x', holds=lambda: False, act=act)
        except ToolFailed as e: print(e)""",
    "kernel's terminal": "os.write(sys.stderr._original_stdstream_copy, s.encode() + b'\\n')",
    "kernel's log": "get_ipython().kernel.log.error(s)",
    "end of the kernel": "import atexit; atexit.register(lambda s=s: os.write(sys.stderr._original_stdstream_copy, s.encode()))",
    "message of the run": LAST,
}
UNHEARD = {"kernel's terminal", "kernel's log", "end of the kernel"}  # with the protection, nobody hears of these

# path: the same, for what is not masked, but must not be sealed
SEALED = {
    "file": "(run.folder / 'a.txt').write_text(f'password={s}')",
    "file in UTF-16": "(run.folder / 'b.txt').write_text(s, encoding='utf-16')",
    "file in base64": "(run.folder / 'c.txt').write_bytes(base64.encodebytes(b'x' * 50 + s.encode() + b'y' * 50))",
    "file of bytes": "(run.folder / 'd.bin').write_bytes(os.urandom(3_000_000) + s.encode() + os.urandom(100))",
    "name of a file": "(run.folder / s).touch()",
    "runbook": "len('SECRET')",
    "a character a line": "print(*s, sep='\\n')",
    "list of characters": "list(s)",
    "numbered characters": "import pandas; print(pandas.Series(list(s)))",
    "cells of a table": "HTML('<tr>' + ''.join(f'<td>{html.escape(c)}</td>' for c in s) + '</tr>')",
    "string literals": "print(f'password = {s[:7]!r} + {s[7:]!r}')",
    "two displays": "display(Markdown(s[:7])); display(Markdown(s[7:]))",
    "list of bytes": "list(s.encode())",
}


ALONE = {"result", "result in a container", "result as bytes", "list of characters", "list of bytes", "cells of a table"}


def secret(number: int) -> tuple[str, str]:
    """Name and value of a path's own secret."""
    return f"KANARI{number:02d}", f"Kanari{number:02d}x&Qz" + ("'bö" if number % 4 == 2 else "")


def secrets(paths: Iterable[str]) -> dict[str, Secret]:
    return {p: Secret(f"env:{secret(n)[0]}", secret(n)[1]) for n, p in enumerate(paths)}


def build(home: Home, *sources: tuple[str, str]) -> None:
    """The home's own runbook for 40-convert: cells given as (source, tag)."""
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(s), metadata={"tags": [t]}) for s, t in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (home.root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home.root / "notebooks" / "40-convert.ipynb")


def prepare(home: Home, cells: dict[str, str], *, protected: bool) -> dict[str, str]:
    """A home whose site points to a secret for each path, and whose runbook goes them all; the environment it needs."""
    shutil.copytree(PROJECT / "params", home.root / "params")
    names = [secret(n)[0] for n in range(len(cells))]
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("dom0s:\n", "dom0s:\n" + "".join(f"  {n}: {{root: env:{n}}}\n" for n in names)))
    actions, sources = [], list[str]()
    for n, (path, cell) in enumerate(cells.items()):
        name, value = secret(n)
        source = textwrap.dedent(cell).replace("SECRET", value.replace("'", "\\'"))
        sources.append(f"# {path}\nn = {name!r}; s = os.environ[n]\n{source}")
        if len(sources) == 12 or path in ALONE:  # each cell costs time
            actions.append(("\n".join(sources), "action"))
            sources = []
    actions.append(("\n".join(sources), "action"))
    build(
        home, (PARAMETERS, "parameters"), ("" if protected else UNPROTECTED, "setup"), (OPEN, "open"), *actions, (END, "verify")
    )
    return dict(map(secret, range(len(cells))))


@dataclass(frozen=True)
class Went:
    """What came of one run: everything it kept or printed, as a reader could make it out."""

    home: Home
    readings: tuple[str, ...]

    def tells(self, text: str) -> bool:
        return any(text in reading for reading in self.readings)

    def notebook(self) -> Any:
        (path,) = (self.home.folder("gateway") / "runs").glob("*.ipynb")
        return nbformat.read(path, as_version=4)


def readings(content: bytes) -> Iterator[str]:
    """A text, and what else can be read out of it."""
    text = content.decode(errors="replace")
    plain = text
    for _ in range(2):  # a text in JSON in JSON
        plain = re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), plain).replace("\\n", "\n").replace("\\x", "%")
        plain = plain.replace('\\"', '"').replace("\\'", "'").replace("\\\\", "\\")
    yield from (text, plain, html.unescape(plain), urllib.parse.unquote(plain), content.decode("utf-16-le", "replace"))
    for blob in re.findall(r"[A-Za-z0-9+/_-]{16,}", re.sub(r"(?<=[A-Za-z0-9+/])\n(?=[A-Za-z0-9+/])", "", plain)):
        for start in range(4):
            part = blob[start:].replace("-", "+").replace("_", "/")
            part += "A" * (-len(part) % 4)
            yield from (base64.b64decode(part).decode(code, "replace") for code in ("utf-8", "latin-1"))
    for digits in re.findall(r"(?:[0-9a-fA-F]{2}){8,}", plain):
        yield binascii.unhexlify(digits).decode(errors="replace")


def everything(home: Home, *told: str) -> Went:
    found = [words.encode() for words in told]
    for path in home.outputs.rglob("*"):
        found.append(str(path.relative_to(home.root)).encode())
        found += [path.read_bytes()] if path.is_file() else []
    return Went(home, tuple(r for content in found for r in readings(content)))


def outside() -> dict[str, str]:
    """The environment as it is outside of pytest, where a kernel treats what its children print differently."""
    return {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}


def command(home: Home, environment: dict[str, str], *arguments: str, protected: bool = True) -> str:
    """What `hikkoshi` prints, on stdout and stderr."""
    code = ("" if protected else UNPROTECTED_RUNNER) + "from hikkoshi.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**outside(), **environment, "HIKKOSHI_HOME": str(home.root)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout + done.stderr


def shown(home: Home, *, protected: bool) -> Went:
    """The run that goes all paths of `SHOWN`, then everybody who tells of it."""
    environment = prepare(home, SHOWN, protected=protected)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        if not protected:
            patch.setattr(Home, "secrets", lambda home: [])
        told = command(
            home, environment, "run", "gateway", "--from", "40", "--through", "40", "--apply", "--json", protected=protected
        )
        told += command(home, environment, "status", "gateway", "--json", protected=protected)
        report.write(home, "gateway")
    return everything(home, told)


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Went:
    return shown(Home(tmp_path_factory.mktemp("protected")), protected=True)


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory: pytest.TempPathFactory) -> Went:
    return shown(Home(tmp_path_factory.mktemp("unprotected")), protected=False)


@pytest.mark.parametrize("path", SHOWN)
def test_a_secret_that_is_shown_is_replaced_by_its_name(path: str, protected: Went) -> None:
    hidden = secrets(SHOWN)[path]
    assert not protected.tells(hidden.reveal())
    assert not protected.tells(hidden.reveal().encode().decode("latin-1"))
    assert protected.tells(repr(hidden)) or path in UNHEARD, "the path was not gone"


@pytest.mark.parametrize("path", SHOWN)
def test_without_the_protection_it_would_be_seen(path: str, unprotected: Went) -> None:
    assert unprotected.tells(secrets(SHOWN)[path].reveal())


def test_the_protected_run_is_sealed_and_the_picture_that_held_a_secret_is_left_out(protected: Went) -> None:
    assert list((protected.home.outputs / "records" / "gateway").iterdir())
    assert protected.tells(f"(image/png left out: it held {secrets(SHOWN)['metadata of a PNG']!r})")


def sealed(home: Home, *, protected: bool) -> Outcome:
    environment = prepare(home, SEALED, protected=protected)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        if not protected:
            patch.setattr(Home, "secrets", lambda home: [])
        return execute(home, "gateway", "40-convert", "apply")


def test_a_secret_that_cannot_be_masked_is_not_sealed(tmp_path: Path) -> None:
    outcome = sealed(Home(tmp_path), protected=True)
    assert (outcome.outcome, outcome.error, outcome.exit_code) == ("succeeded", "Unsealed", 1)
    assert outcome.sealed is None
    for path, hidden in secrets(SEALED).items():
        assert repr(hidden) in outcome.unsealed, path
        assert hidden.reveal() not in outcome.unsealed, path
    assert not [p for p in (tmp_path / "outputs" / "records" / "gateway").glob("*") if p.is_dir()]
    journal = Journal(Home(tmp_path).folder("gateway") / "journal.jsonl")
    assert [e["of"] for e in journal.entries() if e["event"] == "unsealed"] == [outcome.run]


def test_without_the_protection_it_would_be_sealed(tmp_path: Path) -> None:
    outcome = sealed(Home(tmp_path), protected=False)
    assert (outcome.exit_code, outcome.unsealed) == (0, "")
    assert outcome.sealed
    told = "".join(map(str, leaks.scan(outcome.sealed, secrets(SEALED).values())))
    for path, hidden in secrets(SEALED).items():
        assert repr(hidden) in told, path


DRAWN = {
    "title": "plt.title(TEXT)",
    "axis": "plt.xlabel(TEXT)",
    "annotation": "plt.annotate(TEXT, (0.1, 0.5))",
    "legend": "plt.plot([1, 2], label=TEXT); plt.legend()",
    "tick label": "plt.bar([TEXT, 'b'], [1, 2])",
    "tick label made while drawing": "plt.gca().xaxis.set_major_formatter(lambda x, at: TEXT)",
    "table": "plt.table([[TEXT]])",
}


def drawn(home: Home, *, protected: bool) -> list[bool]:
    """For each of `DRAWN`, by `show.figure` and by plain pyplot: whether the secret looks as its name does."""
    environment = prepare(home, {"picture": ""}, protected=protected)
    value = secret(0)[1]
    cells = []
    for cell in DRAWN.values():
        for end in ("show.figure(plt.gcf(), ''); plt.close()", "plt.show()"):
            for text in (value, "‹env:KANARI00›"):
                cells.append((f"plt.figure(figsize=(2, 2)); {cell.replace('TEXT', repr(text))}\n{end}", "action"))
    build(home, (PARAMETERS, "parameters"), ("" if protected else UNPROTECTED, "setup"), (OPEN, "open"), *cells, (END, "verify"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*secret(0))
        assert environment == dict([secret(0)])
        run = home.folder("gateway") / "runs"
        out = home.root / "out.ipynb"
        papermill.execute_notebook(
            str(home.root / "notebooks" / "40-convert.ipynb"),
            str(out),
            parameters={"home": str(home.root)},
            engine_name="hikkoshi",
            progress_bar=False,
            mask=Mask(),
        )
    (kept,) = run.glob("*.ipynb")  # papermill alone is like a person: the kernel keeps what it shows, too
    pictures, also = (
        [
            o.data["image/png"]
            for c in nbformat.read(notebook, as_version=4).cells
            for o in c.get("outputs", [])
            if "image/png" in o.get("data", {})
        ]
        for notebook in (out, kept)
    )
    assert len(pictures) == len(cells)
    assert also == pictures
    return [secret == name for secret, name in zip(pictures[::2], pictures[1::2], strict=True)]


def test_a_secret_is_drawn_as_its_name_pixel_by_pixel(tmp_path: Path) -> None:
    assert all(drawn(Home(tmp_path), protected=True))


def test_without_the_protection_it_would_be_drawn(tmp_path: Path) -> None:
    assert not any(drawn(Home(tmp_path), protected=False))


DYING = """
terminal = sys.stderr._original_stdstream_copy
print(s, end='', flush=True)
os.write(terminal, b'Fatal: ' + s.encode())
time.sleep(0.3)
os.kill(os.getpid(), 6)"""


@pytest.mark.parametrize("protection", [True, False], ids=["protected", "unprotected"])
def test_the_last_words_of_a_dying_kernel_are_kept_without_the_secret(tmp_path: Path, protection: bool) -> None:
    home = Home(tmp_path)
    environment = prepare(home, {"dying kernel": DYING}, protected=protection)
    told = command(home, environment, "run", "gateway", "--only", "40", protected=protection)
    went, value = everything(home, told), secret(0)[1]
    assert went.tells("ended by SIGABRT")
    assert went.tells("Fatal: ‹env:KANARI00›" if protection else f"Fatal: {value}")
    assert went.tells(value) is not protection


@pytest.mark.parametrize("protection", [True, False], ids=["protected", "unprotected"])
def test_a_parameter_is_in_neither_the_cell_nor_the_metadata_of_the_record(tmp_path: Path, protection: bool) -> None:
    home, hidden = Home(tmp_path), Secret("env:PW", "Kanari99&xyz")
    build(home, ("password = 'none'", "parameters"), ("print(len(password))", "verify"))
    out = home.outputs / "out.ipynb"
    out.parent.mkdir()
    papermill.execute_notebook(
        str(home.root / "notebooks" / "40-convert.ipynb"),
        str(out),
        parameters={"password": hidden.reveal()},
        engine_name="hikkoshi",
        progress_bar=False,
        mask=Mask([hidden] if protection else []),
    )
    nb = nbformat.read(out, as_version=4)
    shown = "‹env:PW›" if protection else hidden.reveal()
    assert nb.metadata.papermill.parameters.password == shown
    assert shown in nb.cells[1].source
    assert everything(home).tells(hidden.reveal()) is not protection


@pytest.mark.parametrize("protection", [True, False], ids=["protected", "unprotected"])
@pytest.mark.parametrize("error", ["RuntimeError(s)", "VSphereError(Problem(code='a-code', what='no', found=s))"])
def test_what_the_command_line_tells_of_an_error_is_without_the_secret(tmp_path: Path, error: str, protection: bool) -> None:
    home = Home(tmp_path)
    environment = prepare(home, {"command line": ""}, protected=True)
    code = ("" if protection else UNPROTECTED) + textwrap.dedent(f"""
        import os, sys
        from hikkoshi.cli import main as cli; from hikkoshi.params.home import Home
        from hikkoshi.errors import *
        def guest_names(self):
            s = os.environ["KANARI00"]
            raise {error}
        Home.guest_names = guest_names
        sys.argv[1:] = ["status", "--json"]
        cli.main()
        """)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**outside(), **environment, "HIKKOSHI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    went = everything(home, done.stdout + done.stderr)
    assert len(list(home.outputs.rglob("*.log"))) == (1 if "Runtime" in error else 0)
    assert went.tells("‹env:KANARI00›") is protection
    assert went.tells(secret(0)[1]) is not protection


class Plain(Secret):
    """What a secret would be without its protection."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self.reveal()

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return self.reveal()

    def __reduce__(self) -> Any:
        return Plain, (self.name, self.reveal())


def _log(s: Secret) -> str:
    out = io.StringIO()
    logger = logging.Logger("x")
    logger.addHandler(logging.StreamHandler(out))
    logger.error("login with %s %r", s, s)
    return out.getvalue()


def _raised(s: Secret) -> str:
    try:
        raise RuntimeError(s)
    except RuntimeError:
        return traceback.format_exc()


WAYS: dict[str, Callable[[Secret], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda s: f"{s:>40}",
    "percent": lambda s: f"{s!s} " + "%s %r" % (s, s),  # noqa: UP031
    "join": lambda s: " ".join(map(str, [s])),
    "container": lambda s: str({"password": [s]}),
    "pprint": lambda s: pprint.pformat({"password": s}),
    "logging": _log,
    "traceback": _raised,
    "pickle": pickle.dumps,
    "copy": lambda s: copy.copy(s).reveal(),
    "deep copy": lambda s: copy.deepcopy({"a": s})["a"].reveal(),
    "JSON": lambda s: json.dumps({"a": s}, default=str, ensure_ascii=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_does_not_show_itself(way: str) -> None:
    def told(kind: type[Secret]) -> str:
        try:
            return str(WAYS[way](kind("env:PW", "correct-horse")))
        except TypeError as e:
            return str(e)

    assert "correct-horse" not in told(Secret)
    assert "‹env:PW›" in told(Secret)
    assert "correct-horse" in told(Plain), "this way would not show it anyway"
