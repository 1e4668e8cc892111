"""What runs beside what the file says: each difference is told with both values and with which of them is moved."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.params.guest import Guest, VmWish
from hikkoshi.xen.config import XenGuest, parse
from hikkoshi.xen.live.differences import _Comparison, described
from hikkoshi.xen.live.running import RunningGuest, together
from hikkoshi.xen.live.stored import StoredDomain

DATA = Path(__file__).parents[1] / "data" / "xen"
STORE = (DATA / "xenstore-ls-f-2guests.txt").read_text()
LISTED: dict[str, Any] = next(d for d in json.loads((DATA / "xl-list-l-2guests.json").read_text()) if d["domid"] == 2)
LEDGER = parse((DATA / "xm-list-long-one-guest.sxp").read_text(), "F")
DB01 = parse((DATA / "db01.cfg").read_text(), "F")
GUEST = Guest(name="db01", dom0="xenhost", config=Path("/etc/xen/db01.cfg"), nics=())


def runs(listed: dict[str, Any] = LISTED, store: str = STORE) -> XenGuest:
    return together(parse(json.dumps([listed]), "xl list -l 2"), StoredDomain.of(store, 2))


def compared(now: XenGuest, file: XenGuest = DB01, guest: Guest = GUEST, **more: Any) -> list[Check]:
    given = {"own": set(), "alike": set()} | more
    return list(_Comparison(guest, file, RunningGuest(2, now), **given).differences())


def one(now: XenGuest, file: XenGuest = DB01, **more: Any) -> Check:
    (found,) = compared(now, file, **more)
    return found


def attached(number: int, kind: str, **keys: str) -> str:
    place = f"/local/domain/0/backend/{kind}/2/{number}"
    return STORE + "".join(f'{place}/{key.replace("_", "-")} = "{value}"\n' for key, value in keys.items())


def test_what_was_captured_of_a_real_xen_is_what_its_files_say() -> None:
    assert compared(runs()) == []
    assert described(runs()) == (
        "320 MB, 1 vCPU, xvda = /srv/xen/db01/disk.img, xvdb = /srv/xen/db01/data.img, "
        "NIC 00:16:3e:00:02:01 on xenbr100, NIC 00:16:3e:00:02:02 on xenbr200"
    )
    text = (DATA / "xm-list-long-one-guest.sxp").read_text()
    assert compared(LEDGER, LEDGER) == []
    less = compared(parse(text.replace("(memory 1024)", "(memory 512)").replace("(vcpus 2)", "(vcpus 4)"), "F"), LEDGER)
    assert [c.found.partition(", WHICH")[0] for c in less] == [
        "it runs with 512 MB, and may have up to 1,024 MB; its file: 1,024 MB",
        "it runs with 4 vCPU; its file: 2 vCPU",
    ]


def test_memory_and_processors_that_it_was_given_while_it_ran_are_told_and_how_to_move_them() -> None:
    store = STORE.replace('2/memory/target = "327680"', '2/memory/target = "204800"')
    store += '/local/domain/2/cpu/1/availability = "online"\n/local/domain/2/cpu/2/availability = "offline"\n'
    memory, processors = compared(runs(store=store))
    assert (memory.ok, memory.unseen, memory.code) == (True, "not seen", "memory-as-it-runs")
    assert memory.found == (
        "it runs with 200 MB, and may have up to 320 MB; its file: 320 MB, WHICH IS MOVED. If what runs is meant: "
        "vm: { memory_mb: 200 } in params/guests/db01.yml"
    )
    assert "it runs with 2 vCPU; its file: 1 vCPU, WHICH IS MOVED" in processors.found
    wished = GUEST.model_copy(update={"vm": VmWish(memory_mb=200, vcpus=2)})
    assert compared(runs(store=store), guest=wished) == []


def test_memory_of_an_emulated_screen_is_none_that_the_guest_was_given() -> None:
    store = STORE.replace('2/memory/target = "327680"', '2/memory/target = "331776"')
    assert compared(runs(store=store + '/local/domain/2/memory/videoram = "8192"\n')) == []
    assert runs(store=store + '/local/domain/2/memory/videoram = "8192"\n').memory_mb == runs().memory_mb
    assert runs(store=store).memory_mb == 324


def test_a_disk_that_was_attached_while_it_ran_is_red_unless_its_own_file_has_it_and_a_copy_leaves_it_out() -> None:
    now = runs(store=attached(51744, "vbd", dev="xvdc", params="/srv/xen/extra.img"))
    check = one(now)
    assert (check.ok, check.code) == (False, "disk-left-behind")
    assert check.found == ("xvdc = /srv/xen/extra.img was attached while it ran: it is not in its file, and WOULD BE LEFT BEHIND")
    assert "write it into /etc/xen/db01.cfg" in check.remedy
    assert "xl block-detach db01 xvdc" in check.remedy
    assert compared(now, own={"/srv/xen/extra.img"}) == []


def test_a_list_alone_tells_of_an_attached_disk_too() -> None:
    """Xen 4.5 and later, and xend, have it there; without xenstore it is seen all the same."""
    more = {**LISTED["config"], "disks": [*LISTED["config"]["disks"], {"pdev_path": "/x.img", "vdev": "xvdc", "readwrite": 1}]}
    assert not one(parse(json.dumps([{"domid": 2, "config": more}]), "F"))


@pytest.mark.parametrize(
    ("old", "new", "ok", "told"),
    [
        ("db01/data.img", "db01/other.img", False, "xvdb runs from /srv/xen/db01/other.img; its file: /srv/xen/db01/data.img"),
        ('vbd/2/51728/dev = "xvdb"', 'vbd/2/51728/dev = "xvdd"', True, "/srv/xen/db01/data.img runs as xvdd; its file: xvdb"),
        (
            'bridge = "xenbr200"',
            'bridge = "xenbr0"',
            True,
            "NIC 1 (00:16:3e:00:02:02) runs on the bridge xenbr0; its file: xenbr200",
        ),
    ],
)
def test_a_device_that_is_another_one_than_in_its_file_is_told(old: str, new: str, ok: bool, told: str) -> None:
    check = one(runs(store=STORE.replace(old, new)))
    assert (check.ok, told in check.found) == (ok, True), check.found


def test_one_disk_by_two_names_is_one() -> None:
    now = runs(store=STORE.replace("/srv/xen/db01/data.img", "/dev/mapper/vg0-data"))
    assert compared(now, alike={("/srv/xen/db01/data.img", "/dev/mapper/vg0-data")}) == []


def test_a_device_that_is_in_its_file_only_is_told() -> None:
    lines = [x for x in STORE.splitlines(keepends=True) if not x.startswith(("/local/domain/0/backend/vbd/2/51728", "/x"))]
    assert "xvdb = /srv/xen/db01/data.img is in its file only, AND IS MOVED" in one(runs(store="".join(lines))).found
    lines = [x for x in STORE.splitlines(keepends=True) if "/backend/vif/2/1" not in x]
    assert "NIC 1 (00:16:3e:00:02:02) is in its file only, AND IS MOVED" in one(runs(store="".join(lines))).found


def test_a_nic_that_was_attached_while_it_ran_is_told_loudly() -> None:
    check = one(runs(store=attached(2, "vif", mac="00:16:3E:00:02:03", bridge="xenbr0")))
    assert "the NIC 00:16:3e:00:02:03 on xenbr0 was attached while it ran, and is NOT MOVED" in check.found
    assert compared(runs(store=attached(2, "vif", mac="00:16:3e:00:02:03")), own={"00:16:3e:00:02:03"}) == []
    open_ = DB01.model_copy(update={"vifs": tuple(v.model_copy(update={"mac": ""}) for v in DB01.vifs)})
    assert compared(runs(), open_) == [], "Xen has drawn them"


def test_a_drive_for_discs_is_no_disk() -> None:
    assert compared(runs(store=attached(5632, "vbd", dev="hdc", params="/a.iso", device_type="cdrom"))) == []


@pytest.mark.parametrize(
    "disks",
    [[{"vdev": "xvda", "pdev_path": "/a"}] * 2, [{"vdev": "; reboot", "pdev_path": "/a"}], [{"vdev": "xvda"}], [{"vdev": 7}]],
    ids=["twice", "a name that is none", "no path", "a number"],
)
def test_a_list_with_disks_that_cannot_be_is_refused(disks: list[dict[str, Any]]) -> None:
    with pytest.raises(BadInput):
        parse(json.dumps([{"domid": 2, "config": {**LISTED["config"], "disks": disks}}]), "xl list -l 2")


ODD = st.recursive(
    st.one_of(st.none(), st.integers(-(10**20), 10**20), st.text(max_size=5), st.just("True")),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=3,
)
PARTS = ("disks", "nics", "b_info", "c_info")
KEYS = ("vdev", "pdev_path", "mac", "target_memkb", "max_vcpus", "avail_vcpus", "name", "readwrite", "is_cdrom", "devid")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PARTS), st.sampled_from(KEYS), ODD)
def test_no_odd_value_of_a_list_is_more_than_bad_input(part: str, key: str, odd: Any) -> None:
    whole = LISTED["config"][part]
    changed: Any = [{**one, key: odd} for one in whole] if isinstance(whole, list) else {**whole, key: odd}
    for config in ({**LISTED["config"], part: changed}, {**LISTED["config"], part: odd}):
        try:
            now = parse(json.dumps([{"domid": 2, "config": config}]), "xl list -l 2")
        except BadInput:
            continue
        assert all(isinstance(c, Check) for c in compared(together(now, StoredDomain())))
