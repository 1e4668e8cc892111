"""Where a secret is: what cannot be used is told with the place and the remedy, and never with the value."""

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.params.home import Home

VALUE = "correct-horse"


def refused(home: Home, written: str) -> str:
    """What is told about a reference that is refused."""
    with pytest.raises(BadInput) as caught:
        home.secret(written)
    cause: BaseException | None = caught.value
    while cause:
        assert VALUE not in repr(vars(cause)) + str(cause) + repr(getattr(cause, "object", ""))
        cause = cause.__cause__ or cause.__context__
    (problem,) = caught.value.problems
    assert problem.remedy
    return str(problem)


def put(home: Home, content: bytes | str = VALUE + "\n", mode: int = 0o600) -> Path:
    path = home.root / "secrets" / "password"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_files_line_end_is_no_part_of_the_secret(home: Home, end: str) -> None:
    put(home, VALUE + end)
    assert home.secret("file:secrets/password").reveal() == VALUE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660, 0o622])
def test_a_file_that_others_can_read_or_write_is_refused(home: Home, mode: int) -> None:
    path = put(home, mode=mode)
    told = refused(home, "file:secrets/password")
    assert f"mode {mode:04o}" in told
    assert f"chmod 600 {path}" in told


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_its_owner_can_read_is_taken(home: Home, mode: int) -> None:
    put(home, mode=mode)
    assert home.secret("file:secrets/password").reveal() == VALUE


@pytest.mark.needs("root")
def test_a_file_of_another_user_is_refused(home: Home) -> None:
    os.chown(put(home), 65534, 65534)
    told = refused(home, "file:secrets/password")
    assert "belongs to another user" in told
    assert "user 65534" in told


def test_a_link_is_followed_and_the_file_behind_it_is_what_counts(home: Home) -> None:
    path = put(home)
    (home.root / "link").symlink_to(path)
    assert home.secret("file:link").reveal() == VALUE
    path.chmod(0o644)
    assert "can be read by others" in refused(home, "file:link")
    path.unlink()
    assert "No such file" in refused(home, "file:link")


def test_a_file_in_a_folder_that_anybody_writes_to_is_refused(home: Home) -> None:
    put(home).parent.chmod(0o777)
    assert "chmod o-w" in refused(home, "file:secrets/password")
    (home.root / "secrets").chmod(0o1777)  # as /tmp is: only the owner may replace a file
    assert home.secret("file:secrets/password").reveal() == VALUE


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: p.mkdir(), "a folder"),
        (lambda p: os.mkfifo(p, 0o600), "pipe"),
        (lambda p: p.symlink_to("/dev/null"), "device"),
        (lambda p: p.symlink_to(p), "symbolic links"),
        (lambda p: None, "No such file"),
    ],
    ids=["folder", "pipe", "device", "link to itself", "nothing"],
)
def test_what_is_no_file_is_refused_and_nobody_waits_for_it(home: Home, make: Callable[[Path], object], told: str) -> None:
    make(home.root / "place")
    assert told in refused(home, "file:place")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"user: admin\npassword: correct-horse\n", "2 lines"),
        (b"correct-horse\0", "more than one line"),
        (b"abc\n", "too short"),
        (b"correct-horse\xe9", "not UTF-8"),
        (b"correct-horse" * 1000, "too large"),
    ],
)
def test_what_is_not_one_line_of_text_is_refused(home: Home, content: bytes, told: str) -> None:
    put(home, content)
    assert told in refused(home, "file:secrets/password")


@pytest.mark.parametrize(
    ("value", "told"), [(None, "export PW before the run"), ("", "empty"), (f"{VALUE}\nx", "2 lines"), ("abc", "too short")]
)
def test_the_environment_has_to_hold_one_line(home: Home, value: str | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PW", raising=False)
    if value is not None:
        monkeypatch.setenv("PW", value)
    assert told in refused(home, "env:PW")


@pytest.mark.parametrize("written", ["keyring:vcenter", "keyring:/admin", "keyring:vcenter/"])
def test_a_keyrings_entry_has_to_be_named_in_full(home: Home, written: str) -> None:
    assert "keyring:SERVICE/USER" in refused(home, written)


def test_a_machine_without_keyring_is_told_what_to_use_instead(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "use env: or file:" in refused(home, "keyring:vcenter/admin")


def test_a_keyring_gives_the_secret_or_says_why_not(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {("vcenter", "admin"): VALUE, ("vcenter", "nobody"): None, ("vcenter", "empty"): ""}
    keyring = types.ModuleType("keyring")
    keyring.get_password = lambda service, user: entries[service, user]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert home.secret("keyring:vcenter/admin").reveal() == VALUE
    assert "keyring set vcenter nobody" in refused(home, "keyring:vcenter/nobody")
    assert "empty" in refused(home, "keyring:vcenter/empty")
    assert "does not answer" in refused(home, "keyring:locked/admin")


@pytest.mark.parametrize("written", [VALUE, f"{VALUE}:x", "vault:a/b", ""])
def test_what_is_no_reference_is_refused(home: Home, written: str) -> None:
    told = refused(home, written)
    assert "env:NAME" in told
    assert "change the secret" in told


@pytest.mark.parametrize(
    "line",
    [
        "password: 4711081512345",
        f"password: {VALUE}",
        f"password: [{VALUE}]",
        f"password: file:x\n  password: {VALUE}",
        f"password: {{is: {VALUE}}}",
        f"passwort: {VALUE}",
    ],
)
def test_a_password_written_into_the_site_is_refused_and_not_repeated(home: Home, line: str) -> None:
    site = home.root / "params" / "site.yml"
    site.write_text(site.read_text().replace("password: file:outputs/lab/vcenter.password", line))
    with pytest.raises(BadInput) as caught:
        home.site()
    assert "passwor" in str(caught.value)
    assert VALUE not in str(caught.value)
    assert "4711081512345" not in str(caught.value)


def test_a_password_beside_another_mistake_is_not_repeated(home: Home) -> None:
    site = home.root / "params" / "site.yml"
    text = site.read_text().replace("password: file:outputs/lab/vcenter.password", f"password: {VALUE}")
    site.write_text(text.replace("  ca: outputs/lab/ca.pem\n", "").replace("name:", "neme:", 1))
    with pytest.raises(BadInput) as caught:
        home.site()
    assert VALUE not in str(caught.value)
