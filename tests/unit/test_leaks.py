"""Before a folder is sealed, a live secret is found in it wherever and however it stands; and nothing else is."""

import base64
import html
import json
import os
import re
import shlex
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hikkoshi.errors import Problem
from hikkoshi.secret import leaks
from hikkoshi.secret.reference import Secret

VALUE = "Tr0ub4dor&3 'xyz\"<é>"
BORDER = 2**12

FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": lambda v: v.encode(),
    "repr": lambda v: repr(v)[1:-1].encode(),
    "json": lambda v: json.dumps(v)[1:-1].encode(),
    "json, unicode": lambda v: json.dumps(v, ensure_ascii=False)[1:-1].encode(),
    "json, every character escaped": lambda v: re.sub("....", r"\\u\g<0>", v.encode("utf-16-be").hex()).encode(),
    "json, as Go writes it": lambda v: json.dumps(v)[1:-1].translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"}).encode(),
    "url": lambda v: urllib.parse.quote(v).encode(),
    "url, all of it": lambda v: urllib.parse.quote(v, safe="").encode(),
    "url, form": lambda v: urllib.parse.quote_plus(v).encode(),
    "url, its password": lambda v: urllib.parse.quote(v, safe="!$&'()*+,;=").encode(),
    "bytes": lambda v: repr(v.encode())[2:-1].encode(),
    "shell": lambda v: shlex.quote(v).encode().strip(b"'"),
    "html": lambda v: html.escape(v).encode(),
    "html, as Jinja writes it": lambda v: html.escape(v).replace("&quot;", "&#34;").replace("&#x27;", "&#39;").encode(),
    "base64": lambda v: base64.b64encode(v.encode()),
    "base64 after one byte": lambda v: base64.b64encode(b":" + v.encode() + b"!!"),
    "base64 after two bytes": lambda v: base64.b64encode(b"a:" + v.encode() + b"!"),
    "base64, url-safe": lambda v: base64.urlsafe_b64encode(b"root:" + v.encode()),
    "hexadecimal": lambda v: v.encode().hex().encode(),
    "HEXADECIMAL": lambda v: v.encode().hex().upper().encode(),
    "list of bytes": lambda v: str(list(v.encode())).encode(),
    "utf-16": lambda v: v.encode("utf-16-le", "surrogatepass"),
}
PIECES: dict[str, Callable[[str], bytes]] = {
    "lines": lambda v: "\n".join(v).encode(),
    "string literals": lambda v: f"{json.dumps(v[:4])} + {json.dumps(v[4:])}".encode(),
    "list of characters": lambda v: repr(list(v)).encode(),
    "indented JSON array": lambda v: json.dumps(list(v), indent=1).encode(),
    "JSON lines": lambda v: "".join(json.dumps(c + "\n") + ",\n" for c in v).encode(),
    "cells": lambda v: "".join(f'<td class="x1">{html.escape(c)}</td>\n' for c in v).encode(),
    "numbered rows": lambda v: "".join(f"<tr><th>{n}</th><td>{html.escape(c)}</td></tr>" for n, c in enumerate(v)).encode(),
    "numbered lines": lambda v: "".join(f"{n:<4}{c}\n" for n, c in enumerate(v)).encode(),
    "Markdown": lambda v: ("| " + " | ".join(v) + " |").encode(),
    "base64 over lines": lambda v: base64.encodebytes(b"x" * 50 + v.encode() + b"y" * 50),
    "base64 over JSON lines": lambda v: json.dumps(base64.encodebytes(b"x" * 50 + v.encode() + b"y" * 50).decode()).encode(),
    "hexadecimal with colons": lambda v: v.encode().hex(":").encode(),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Borders between chunks come early, so that hundreds of tries stay cheap."""
    monkeypatch.setattr(leaks, "CHUNK", BORDER)
    monkeypatch.setattr(leaks, "OVERLAP", 2**11)


def scan(folder: Path, *values: str) -> list[Problem]:
    return leaks.scan(folder, [Secret(f"env:PW{n}", v) for n, v in enumerate(values or (VALUE,))])


def put(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", FORMS | PIECES)
def test_it_is_found_however_it_is_written(tmp_path: Path, form: str) -> None:
    put(tmp_path, b"before\n" + (FORMS | PIECES)[form](VALUE) + b"\nafter")
    (problem,) = scan(tmp_path)
    assert problem.what == "the secret ‹env:PW0› stands in what was to be sealed"
    assert problem.where.startswith(f"{tmp_path}/file:")
    assert VALUE not in str(problem)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    value=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=8, max_size=40),
    form=st.sampled_from(sorted(FORMS)),
    offset=st.integers(0, 300) | st.integers(BORDER - 600, BORDER + 50) | st.integers(2 * BORDER - 600, 2 * BORDER),
    around=st.sampled_from([b"\0", b"\xff", b" ", b"\n", b"\\", b"<"]),
)
@example(value="n0passw0rd", form="raw", offset=BORDER - 5, around=b"\\")
@example(value="........", form="url", offset=0, around=b" ")
def test_any_value_is_found_in_any_form_at_any_offset(tmp_path: Path, value: str, form: str, offset: int, around: bytes) -> None:
    put(tmp_path, around * offset + FORMS[form](value) + around * 50)
    assert scan(tmp_path, value), (value, form)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(
    value=st.text("abcdefghjkmopqsuvwxyz0123456789-+/&!% ", min_size=12, max_size=30).filter(
        lambda v: sum(c.isalnum() for c in v) >= leaks.SPREAD and any(c.isalpha() for c in v)
    ),
    pieces=st.sampled_from(sorted(PIECES)),
    offset=st.integers(0, 300) | st.integers(BORDER - 600, BORDER + 50),
)
def test_a_value_with_eight_letters_or_digits_is_found_in_pieces(tmp_path: Path, value: str, pieces: str, offset: int) -> None:
    put(tmp_path, b"." * (offset - 1) + b"\n" + PIECES[pieces](value) + b"\n" + b"." * 50)
    assert scan(tmp_path, value), (value, pieces)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=st.text("ghijklmnopqrstuvwxyz0123456789 &-", min_size=8).filter(lambda v: "q" in v), content=st.binary())
def test_a_text_without_it_is_no_find(tmp_path: Path, value: str, content: bytes) -> None:
    put(tmp_path, content.replace(b"q", b"").replace(b"Q", b""), "file.json")
    assert scan(tmp_path, "q" * 6 + value) == []


def test_the_offset_is_that_of_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    put(tmp_path, b"." * (leaks.CHUNK - 3) + VALUE.encode(), "whole")
    put(tmp_path, b"<p>" * 7 + b"<b>T</b>" + VALUE[1:].encode(), "pieces")
    assert [(p.where.rsplit("/")[-1], p.found) for p in scan(tmp_path)] == [
        ("pieces:24", "in pieces"),
        (f"whole:{leaks.CHUNK - 3}", "as it is"),
    ]


def test_it_is_found_in_the_chunks_of_a_notebooks_stream(tmp_path: Path) -> None:
    chunks = [("stdout", "Tr0ub"), ("stderr", "12:01 warning"), ("stdout", "4dor&3 'x"), ("stdout", 'yz"<é>')]
    outputs = [{"output_type": "stream", "name": name, "text": [text]} for name, text in chunks]
    put(tmp_path, json.dumps({"cells": [{"outputs": outputs}]}).encode(), "run.ipynb")
    (problem,) = scan(tmp_path)
    assert problem.found == "in pieces, in cells.outputs.text of stdout"


def test_it_is_found_in_pieces_over_the_lines_of_a_journal(tmp_path: Path) -> None:
    lines = [{"n": n, "event": "step", "found": piece} for n, piece in enumerate(["Tr0ub", "4dor&3 'xyz\"<é>"])]
    put(tmp_path, b'torn{"\n' + "\n".join(map(json.dumps, lines)).encode(), "journal.jsonl")
    assert [p.found for p in scan(tmp_path)] == ["in pieces, in found"]


def test_it_is_found_in_names_and_never_told_with_them(tmp_path: Path) -> None:
    put(tmp_path, b"", "a/correct-horse.txt")
    put(tmp_path, b"correct-horse", "b/correct/horse.txt")
    put(tmp_path, b"nothing", "c/correct-horse/file.txt")
    (tmp_path / "link").symlink_to("correct-horse")
    problems = scan(tmp_path, "correct-horse")
    assert [(p.where.removeprefix(f"{tmp_path}/"), p.found) for p in problems] == [
        ("link:0", "as it is"),
        ("a/‹env:PW0›.txt", "in a name, as it is"),
        ("b/correct", "in a name, in pieces"),
        ("b/correct:0", "as it is"),
        ("c/‹env:PW0›", "in a name, as it is"),
    ]
    assert "horse" not in "".join(map(str, problems))


def test_each_secret_is_told_once_for_each_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path, b"correct-horse battery-staple correct-horse", name)
    found = scan(tmp_path, "correct-horse", "battery-staple", "not-in-there")
    assert [p.where.rsplit("/")[-1] for p in found] == ["one:0", "one:14", "two:0", "two:14"]


def test_it_does_not_cry_wolf_for_little_in_common(tmp_path: Path) -> None:
    put(tmp_path, b"1 2 3 4 5 6 7 8\n2026-11-27 p w 0 r d\nadministrator password 1")
    assert scan(tmp_path, "12345678", "20261127", "p@$$-w0rd", "administratorPassword1") == []


def test_a_value_too_short_to_be_told_from_chance_is_not_looked_for(tmp_path: Path) -> None:
    put(tmp_path, b"abc abcd")
    assert scan(tmp_path, "abc") == []
    assert len(scan(tmp_path, "abcd")) == 1


def test_what_cannot_be_searched_is_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (problem,) = scan(tmp_path)
    assert problem.what == "a file could not be searched for secrets"
    assert problem.where == f"{tmp_path}/pipe"


def test_a_folder_without_secrets_has_no_problem(tmp_path: Path) -> None:
    put(tmp_path, b"nothing to see", "a/b/c.txt")
    assert scan(tmp_path) == []
    assert leaks.scan(tmp_path, []) == []
