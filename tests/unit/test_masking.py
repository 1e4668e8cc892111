"""A secret is found in every form in which a text may hold it, and nothing else is touched."""

import base64
import html
import json
import shlex
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hikkoshi.params.home import Home
from hikkoshi.secret.masking import Mask
from hikkoshi.secret.reference import Secret

VALUE = "p&ss 'w\"örd<1>/\\"


def masked(text: str, value: str = VALUE) -> str:
    return Mask([Secret("env:PW", value)]).text(text)


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        repr(VALUE)[1:-1],
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        urllib.parse.quote(VALUE),
        urllib.parse.quote_plus(VALUE),
        urllib.parse.quote(VALUE, safe=""),
        html.escape(VALUE),
        html.escape(VALUE, quote=False),
        html.escape(repr(VALUE)[1:-1]),
        json.dumps(json.dumps(VALUE)[1:-1])[1:-1],
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        base64.b64encode(VALUE.encode("latin-1")).decode(),
        base64.b64encode(VALUE.encode("utf-16-le")).decode(),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        repr(VALUE.encode())[2:-1],
        json.dumps(VALUE)[1:-1].replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"),
        html.escape(VALUE).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        urllib.parse.quote(VALUE, safe="!~*'()"),
        urllib.parse.quote(VALUE, safe="").lower(),
        shlex.quote(VALUE)[1:-1],
    ],
)
def test_every_way_of_writing_it_is_masked(form: str) -> None:
    assert masked(f"before {form} after").rstrip("= after").startswith("before ‹env:PW›")
    assert form not in masked(f"before {form} after")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "administrator@vsphere.local:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "\n"])
def test_it_is_masked_inside_a_longer_base64_text(before: str, after: str) -> None:
    header = base64.b64encode((before + "correct-horse" + after).encode()).decode()
    left = masked(header, "correct-horse")
    assert "‹env:PW›" in left
    assert b"correct-hor" not in base64.b64decode(left.split("‹")[0].ljust(400, "A")[:400])


@given(value=st.text(min_size=4, max_size=30), around=st.text(max_size=10))
@example(value="aaaa", around="a")
def test_no_value_survives_as_it_is(value: str, around: str) -> None:
    assert value not in masked(f"{around}{value}{around}", value).replace("‹env:PW›", "\0")


def test_the_longest_form_wins() -> None:
    both = Mask([Secret("env:A", "horse"), Secret("env:B", "horse-battery")])
    assert both.text("horse-battery horse") == "‹env:B› ‹env:A›"


def test_a_text_without_it_stays_as_it_is() -> None:
    assert masked("nothing to see") == "nothing to see"
    assert Mask().text("anything") == "anything"


def test_a_very_short_value_is_left_alone() -> None:
    assert masked("abc abc", "abc") == "abc abc"


def test_a_tree_is_masked_in_values_and_keys_but_its_shape_stays() -> None:
    tree = {"cells": [{"source": "x = 'correct-horse'", "n": 1, "correct-horse": None}], "ok": True}
    done = Mask([Secret("env:PW", "correct-horse")]).tree(tree)
    assert done == {"cells": [{"source": "x = '‹env:PW›'", "n": 1, "‹env:PW›": None}], "ok": True}
    assert "correct-horse" in json.dumps(tree), "the tree given is not changed"


def test_a_short_value_does_not_destroy_the_keys_that_a_notebook_needs() -> None:
    assert Mask([Secret("env:PW", "data")]).tree({"metadata": "data"}) == {"metadata": "‹env:PW›"}


def test_the_secrets_of_a_site_are_those_that_its_references_point_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.secrets() == [], "the lab's password file is not there"
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("file:outputs/lab/vcenter.password", "env:VC_PASSWORD"))
    monkeypatch.setenv("VC_PASSWORD", "correct-horse")
    assert [(s.name, s.reveal()) for s in home.secrets()] == [("env:VC_PASSWORD", "correct-horse")]


def test_a_secret_in_a_file_is_known(home: Home) -> None:
    path = Path(home.outputs / "lab" / "vcenter.password")
    path.parent.mkdir(parents=True)
    path.write_text("correct-horse\n")
    path.chmod(0o600)
    assert Mask(home.secrets()).text("correct-horse") == "‹file:outputs/lab/vcenter.password›"
