"""What the site has before and after all planned guests, and where each NIC goes, as a picture."""

from dataclasses import replace

from drawings import cables
from hikkoshi.approval import capacity
from hikkoshi.figures.room import Room, rooms, rooms_words
from hikkoshi.figures.wires import wires, wires_words
from hikkoshi.vsphere.inventory import Capacity
from hikkoshi.vsphere.spec import VmSpec

GIB = 1 << 30
PAPER = Capacity(  # the paper's site: 3 hosts, 120 GB, 6.34 TB, 30 machines
    hosts=3, memory=(40 * GIB,) * 3, machines=30, running=28, taken=50 * GIB, room=6340 * GIB, free=1340 * GIB
)


def machine(name: str, memory_mb: int = 1024, disk: int = 100 * GIB) -> VmSpec:
    return VmSpec(
        name=name,
        guest_id="centos64Guest",
        hardware_version=10,
        vcpus=1,
        memory_mb=memory_mb,
        disk_bytes=disk,
        controller="pvscsi",
        nic_model="vmxnet3",
        nics=(),
    )


def told(has: Capacity, *coming: VmSpec, unread: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    return {row["what"]: row for row in capacity.Outlook(has, coming, "storage1", unread).rows()}


def test_what_is_left_is_what_there_is_without_what_is_taken_and_what_is_planned() -> None:
    found = told(PAPER, machine("idp"), machine("gateway", 2048))
    assert found["memory"]["left"] == "67.0 GiB; with one host less: 27.0 GiB"
    assert found["datastore storage1"]["left"] == "1.1 TiB"
    assert found["machines"]["planned"] == "2: gateway, idp"
    assert found["machines"]["left"] == "32 then"


def test_more_than_there_is_has_a_sign_and_the_amount() -> None:
    found = told(PAPER, machine("large", 80 << 10, 2000 * GIB))
    assert found["memory"]["left"] == "▼ 10.0 GiB more than there is; with one host less: ▼ 50.0 GiB more than there is"
    assert found["datastore storage1"]["left"] == "▼ 660.0 GiB more than there is"


def test_a_site_without_a_usable_host_has_nothing_left() -> None:
    found = told(replace(PAPER, memory=()))
    assert found["hosts that can take machines"]["there is"] == "0 of 3"
    assert found["memory"]["left"].startswith("▼ 50.0 GiB more than there is")


def test_a_fleet_is_a_number_and_some_names() -> None:
    found = told(PAPER, *(machine(f"g{n:02}") for n in range(12)))["machines"]["planned"]
    assert (found.startswith("12: g00, g01"), found.endswith("g09 and 2 more")) == (True, True)


def test_a_guest_whose_plan_cannot_be_read_is_named_as_not_counted() -> None:
    assert told(PAPER, unread=("old",))["machines"]["planned"] == "none; not counted, for the plan cannot be read: old"


def test_a_bar_is_as_long_as_what_is_taken_and_planned_and_what_is_over_has_a_sign_and_its_amount() -> None:
    found = [Room(*one) for one in capacity.Outlook(PAPER, [machine("large", 40 << 10, 1000 * GIB)], "storage1").rooms]
    ax = rooms(found).axes[0]
    assert [round(p.get_width()) for p in ax.patches] == [42, 33, 62, 50, 79, 16]  # % of 120, 80 and 6340 GiB
    assert [(t.get_text(), t.get_weight()) for t in ax.texts] == [
        ("30.0 GiB left", "normal"),
        ("▼ 10.0 GiB more than there is", "bold"),
        ("340.0 GiB left", "normal"),
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["memory", "memory, with one host less", "datastore storage1"]
    assert "one host less: 80.0 GiB there, 50.0 GiB taken, 40.0 GiB planned; ▼ 10.0 GiB more" in rooms_words(found)


def test_a_site_without_any_room_can_still_be_drawn() -> None:
    assert [t.get_text() for t in rooms([Room("memory", 0, 0, GIB)]).axes[0].texts] == ["▼ 1.0 GiB more than there is"]


def test_a_cable_to_another_vlan_is_cut_has_a_sign_and_is_named_in_words() -> None:
    ax = wires(cables("eth3")).axes[0]
    signs = [t.get_text() for t in ax.texts if "✘" in t.get_text()]
    assert sorted(signs) == ["dv-vlan303\n✘ distributed, VLAN 999", "✘"]
    assert [line.get_linestyle() for line in ax.lines].count(":") == 1
    assert {t.get_weight() for t in ax.texts if "dv-vlan303" in t.get_text()} == {"bold"}
    said = wires_words(cables("eth3"))
    assert "1 of 8 otherwise than planned" in said
    assert "✘ eth3 (00:16:3e:05:00:03) from xenbr303 to dv-vlan303 (distributed, VLAN 999), planned as vlan303" in said
    assert said.index("✘ eth3") < said.index("eth0 to dv-vlan300, eth1 to dv-vlan301")


def test_cables_as_planned_have_no_sign() -> None:
    fig = wires(cables())
    assert not [t for t in fig.axes[0].texts if "✘" in t.get_text()]
    assert "none of 8 otherwise than planned" in wires_words(cables())


def test_a_long_name_keeps_its_beginning_and_its_end_in_the_picture_and_is_whole_in_the_words() -> None:
    name = "a-port-group-of-the-second-floor-of-the-hospital-vlan-0302"
    (wire,) = cables()[:1]
    long = replace(wire, port_group=name)
    drawn = next(t.get_text() for t in wires([long]).axes[0].texts if t.get_text().startswith("a-port"))
    assert (drawn.splitlines()[0].endswith("vlan-0302"), name in drawn, name in wires_words([long])) == (True, False, True)
