"""Where a disk on another machine is: what an address says, and what is none."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.disk.remote import RemoteDisk, address
from hikkoshi.errors import BadInput, ToolFailed
from hikkoshi.ssh import Login


@pytest.mark.parametrize(
    ("url", "host", "path", "options"),
    [
        ("ssh://dom0/dev/vg0/gateway", "dom0", "/dev/vg0/gateway", ()),
        (
            "ssh://root@dom0.example.org:2222/var/lib/xen/images/a.img",
            "root@dom0.example.org",
            "/var/lib/xen/images/a.img",
            ("-p", "2222"),
        ),
        ("ssh://XenHost/a%20b%3Fc", "XenHost", "/a b?c", ()),
        ("ssh://root@[2001:db8::1]:22/disk", "root@2001:db8::1", "/disk", ("-p", "22")),
    ],
)
def test_an_address_names_host_path_and_port(url: str, host: str, path: str, options: tuple[str, ...]) -> None:
    assert address(url) == (Login(host, options), path)


@pytest.mark.parametrize(
    "url",
    [
        "http://dom0/disk",
        "ssh://dom0",
        "ssh://dom0/",
        "ssh:///disk",
        "ssh://-oProxyCommand=id/disk",
        "ssh://-l@dom0/disk",
        "ssh://root:secret@dom0/disk",
        "ssh://dom0:99999/disk",
        "ssh://dom0:x/disk",
        "ssh://dom0/disk?a=b",
        "ssh://dom0/disk#1",
        "ssh://dom0/a%0Ab",
        "ssh://dom0/a%00b",
        "ssh://do m0/disk",
        "ssh://$(id)/disk",
        "ssh://[dom0/disk",
    ],
)
def test_what_is_no_address_is_refused_with_the_form_of_one(url: str) -> None:
    with pytest.raises(BadInput, match="no address of a disk") as e:
        address(url)
    assert "ssh://[user@]host[:port]/path" in e.value.problems[0].expected


@given(st.text())
def test_whatever_anybody_types_is_an_address_or_refused(text: str) -> None:
    try:
        _, path = address(text)
    except BadInput:
        return
    assert path.startswith("/")


@pytest.mark.parametrize(
    "answer",
    [
        "size=abc|inode=1",
        "size=512|x",
        "size=512|x=",
        "size=",
        "size=512",
        "size=-512|inode=1",
        "size=5 1 2|inode=1",
        "size=512\nsize=1024|inode=1",
        "size=\u0661\u0662|inode=1",
        f"size={'9' * 4400}|inode=1",
        f"size=512|inode={'9' * 70000}",
    ],
)
def test_an_answer_that_nobody_foresaw_is_told_as_such(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answer").write_text(answer)
    (tmp_path / "ssh").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolFailed, match="is not understood") as e:
        RemoteDisk(Login("dom0"), "/srv/disk.img")
    assert e.value.problems[0].where == "dom0:/srv/disk.img"
