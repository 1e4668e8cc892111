"""How another machine is named, and what is told where nobody answers there; a real sshd is asked in tests/system."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.ssh import Login


@pytest.mark.parametrize(
    ("ssh", "host", "options"),
    [
        ("xenhost", "xenhost", ()),
        ("XenHost", "XenHost", ()),
        ("root@10.0.0.5", "root@10.0.0.5", ()),
        ("root@xenhost:22", "root@xenhost", ("-p", "22")),
        ("[2001:db8::5]", "2001:db8::5", ()),
        ("root@[2001:db8::5]:2222", "root@2001:db8::5", ("-p", "2222")),
        ("root@[fe80::1%eth0]", "root@fe80::1%eth0", ()),
    ],
)
def test_an_address_is_what_ssh_is_told(ssh: str, host: str, options: tuple[str, ...]) -> None:
    assert Login.of(ssh) == Login(host, options)


@given(st.text(max_size=30))
def test_nothing_that_anybody_writes_becomes_an_option_of_ssh(text: str) -> None:
    try:
        host = Login.of(text).host
    except ValueError:
        return
    assert re.fullmatch(r"(?!-)[\w.%:@-]+", host, re.ASCII)
    assert "@-" not in host


@pytest.mark.parametrize(
    ("kind", "offer", "line"),
    [
        ("key exchange method", "diffie-hellman-group1-sha1", "`KexAlgorithms +diffie-hellman-group1-sha1`"),
        ("host key type", "ssh-dss,ssh-rsa", "`HostKeyAlgorithms +ssh-rsa` and `PubkeyAcceptedAlgorithms +ssh-rsa`"),
        ("cipher", "3des-cbc,aes128-cbc", "`Ciphers +aes128-cbc`"),
        ("MAC", "hmac-md5,hmac-sha1", "`MACs +hmac-sha1`"),
    ],
)
def test_a_machine_with_old_algorithms_only_is_told_with_the_line_that_allows_one(kind: str, offer: str, line: str) -> None:
    words = f"Unable to negotiate with 10.0.0.5 port 22: no matching {kind} found. Their offer: {offer}\r\n"
    problem = Login("root@xenhost").unreached(words)
    assert problem.code == "ssh-too-old"
    assert problem.remedy.endswith(f"below `Host xenhost` in ~/.ssh/config: {line}")
    assert problem.found == words.strip()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("root@xenhost", "xenhost"),
        ("xenhost:22", "xenhost"),
        ("root@xenhost:2222", "[xenhost]:2222"),
        ("[2001:db8::5]:2222", "[2001:db8::5]:2222"),
    ],
)
def test_a_key_that_has_changed_is_told_with_the_name_by_which_the_old_one_is_taken_out(written: str, name: str) -> None:
    words = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n"
    problem = Login.of(written).unreached(words)
    assert problem.code == "ssh-key-changed"
    assert f"`ssh-keygen -R {name}`" in problem.remedy
