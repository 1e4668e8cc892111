"""What a domain runs with, out of what a real xenstore told, and of stores that tell what cannot be."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.xen.live.stored import StoredDomain, vifs

STORE = (Path(__file__).parents[1] / "data" / "xen" / "xenstore-ls-f-2guests.txt").read_text()
DISK = "/local/domain/0/backend/vbd/2/51744"


def test_a_domain_has_the_memory_processors_disks_and_nics_that_the_store_has() -> None:
    db01 = StoredDomain.of(STORE, 2)
    assert (db01.memory_mb, db01.screen_mb, db01.vcpus) == (320, 0, 1)
    assert [(d.vdev, d.target, d.access, d.script, d.backend, d.cdrom) for d in db01.disks] == [
        ("xvda", "/srv/xen/db01/disk.img", "w", "", "", False),
        ("xvdb", "/srv/xen/db01/data.img", "w", "", "", False),
    ]
    assert db01.vifs == vifs(STORE, "db01") == {0: ("00:16:3e:00:02:01", "xenbr100"), 1: ("00:16:3e:00:02:02", "xenbr200")}
    assert (vifs(STORE, "nobody"), StoredDomain.of(STORE, 77)) == ({}, StoredDomain())


@pytest.mark.parametrize(
    ("keys", "disk"),
    [
        ({"params": "aio:/srv/a.img", "dev": "xvdc"}, ("xvdc", "/srv/a.img", "", "")),
        ({"params": "vg0/web", "dev": "hdb", "mode": "r"}, ("hdb", "/dev/vg0/web", "", "")),
        ({"params": "web", "script": "/etc/xen/scripts/block-drbd", "dev": "xvdc"}, ("xvdc", "web", "block-drbd", "")),
        ({"params": "/dev/xen/blktap-2/tapdev0", "tapdisk-params": "aio:/srv/b.img"}, ("xvdc", "/srv/b.img", "", "")),
    ],
)
def test_a_disk_that_was_attached_while_it_ran_is_read(keys: dict[str, str], disk: tuple[str, ...]) -> None:
    more = f'{DISK} = ""\n' + "".join(f'{DISK}/{key} = "{value}"\n' for key, value in keys.items())
    last = StoredDomain.of(STORE + more, 2).disks[-1]
    assert (last.vdev, last.target, last.script, last.backend) == disk


def test_of_a_disk_that_is_taken_out_and_of_one_that_is_not_there_yet_nothing_is_told() -> None:
    for more in (f'{DISK} = ""\n{DISK}/params = "/a"\n{DISK}/online = "0"\n', f'{DISK} = ""\n{DISK}/dev = "xvdc"\n'):
        assert len(StoredDomain.of(STORE + more, 2).disks) == 2


def test_an_empty_drive_for_discs_is_a_drive() -> None:
    drive = StoredDomain.of(STORE + f'{DISK} = ""\n{DISK}/dev = "hdc"\n{DISK}/device-type = "cdrom"\n', 2).disks[-1]
    assert (drive.cdrom, drive.target) == (True, "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('dev = "xvdb"', 'dev = "$(touch pwned)"', "no virtual device"),
        ('mode = "w"', 'mode = "x"', "unknown access"),
        ('mac = "00:16:3e:00:02:01"', 'mac = "00:16"', "a NIC with the MAC '00:16'"),
        ("\n/vm", "\n/vm = ", ""),
    ],
)
def test_what_cannot_be_is_told(old: str, new: str, told: str) -> None:
    if not told:
        assert StoredDomain.of(STORE.replace(old, new), 2) == StoredDomain.of(STORE, 2)
    else:
        with pytest.raises(ValueError, match=re.escape(told)):
            StoredDomain.of(STORE.replace(old, new), 2)


@pytest.mark.parametrize("number", ["-1", "9" * 40, "many", ""])
def test_a_number_that_is_none_is_not_told(number: str) -> None:
    text = STORE.replace('memory/target = "327680"', f'memory/target = "{number}"')
    assert StoredDomain.of(text, 2).memory_mb == 0


def test_a_store_that_is_cut_off_or_has_a_name_twice_tells_nothing() -> None:
    with pytest.raises(ValueError, match="cut off"):
        StoredDomain.of(STORE[:-20], 2)
    with pytest.raises(ValueError, match="2 domains are called db01"):
        vifs(STORE + '/local/domain/7/name = "db01"\n', "db01")


LINES = [line for line in STORE.splitlines() if re.search(r"/(?:vbd|vif)/2/|domain/2/", line)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LINES)), st.text(max_size=60))
def test_no_text_is_more_than_a_value_error(lines: list[str], more: str) -> None:
    try:
        found = StoredDomain.of("\n".join([*lines, f'{DISK}/params = "{more}"', more]) + "\n", 2)
    except ValueError:
        return
    assert all(d.vdev and (d.target or d.cdrom) for d in found.disks)
