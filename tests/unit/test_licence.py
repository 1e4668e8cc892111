"""Licences that are bound to a machine are told before the move."""

import fnmatch

import pytest

from hikkoshi.guest.bound import licence

FLEXLM = """\
# license.dat of the compiler
SERVER gateway 00163E050000 27000
VENDOR acme /opt/acme/bin/acmed
FEATURE cc acme 4.2 permanent 10 HOSTID=00163e050000 SIGN="00AB"
INCREMENT f77 acme 4.2 31-dec-2030 5 HOSTID="001122334455 VM_UUID=564d1c2f-0001" \\
    SIGN=11
"""


def told(content: str, path: str = "/opt/acme/license.dat") -> list[tuple[str, str]]:
    return [(n.code, n.facts.get("mac") or n.facts["bound"]) for n in licence.told({path: content})]


def test_each_mac_is_told_once_and_whatever_a_move_changes() -> None:
    assert told(FLEXLM) == [
        ("licence-by-mac", "00:16:3e:05:00:00"),
        ("licence-by-mac", "00:11:22:33:44:55"),
        ("licence-by-machine", "VM_UUID=564d1c2f-0001"),
    ]


@pytest.mark.parametrize("host", ["ANY", "HOSTNAME=gateway", "INTERNET=10.3.1.*", "ID=12345", "DEMO"])
def test_what_a_move_keeps_is_not_told(host: str) -> None:
    assert told(f"SERVER this_host {host} 27000\nFEATURE a b 1 permanent 1 HOSTID={host} SIGN=1\n") == []


@pytest.mark.parametrize("host", ["7f0100", "DISK_SERIAL_NUM=1a2b", "COMPOSITE=12AB34CD56EF"])
def test_a_number_of_the_machine_or_its_disk_is_told(host: str) -> None:
    assert told(f"SERVER gateway {host}\n") == [("licence-by-machine", host)]


def test_other_files_are_no_licences() -> None:
    assert told(FLEXLM, "/etc/hosts") == []
    assert told("hello\nserver\n") == []


@pytest.mark.parametrize("path", ["/usr/local/flexlm/licenses/license.dat", "/opt/acme/lib/license.dat", "/etc/acme.lic"])
def test_they_are_looked_for_where_they_usually_lie(path: str) -> None:
    assert any(fnmatch.fnmatchcase(path, pattern) for pattern in licence.FILES)
    assert told("SERVER gateway 00163E050000\n", path)
