"""Ties of NICs to names as people make them: other words for a MAC, places on Xen's bus, link files that hide each other."""

from pathlib import Path

import pytest

from hikkoshi.guest import preparation
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.interfaces import interfaces, pinning
from hikkoshi.guest.survey import Survey

MAC = "00:16:3e:05:00:00"
NET, ADDRESS, LINKS = 'SUBSYSTEM=="net", ACTION=="add", ', f'ATTR{{address}}=="{MAC}"', "/etc/systemd/network/"
BY_MAC = f"[Match]\nMACAddress={MAC}\n[Link]\n"
STANZA = {"/etc/network/interfaces": "iface lan0 inet dhcp\n"}


@pytest.fixture
def facts() -> GuestFacts:
    """Of the lab's gateway, with one NIC that is called lan0, and systemd."""
    path = Path(__file__).parents[1] / "data/survey/gateway.json"
    found = Survey.model_validate_json(path.read_bytes()).guest
    texts = {p: t for p, t in found.texts.items() if "ifcfg" not in p and "modprobe" not in p} | STANZA
    return found.model_copy(update={"interfaces": tuple(interfaces.found(STANZA)[0]), "texts": texts, "systemd": True})


def edits(facts: GuestFacts, **texts: str) -> dict[str, str | None]:
    changed = facts.model_copy(update={"texts": facts.texts | texts, "pinned": pinning.read(texts)})
    done = preparation.plan(changed, controller="pvscsi", nic_model="vmxnet3", macs={"lan0": MAC})
    return {e.path: e.after for e in done.edits if "udev" in e.path or "systemd" in e.path or "sbin" in e.path}


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        (f'{NET}{ADDRESS}, NAME="lan0", OPTIONS+="last_rule"\n{NET}{ADDRESS}, NAME="eth5"\n', True),
        (f'{NET}ENV{{ID_NET_NAME_MAC}}=="enx00163e050000", NAME="lan0"\n', False),
        (f'{NET}PROGRAM=="/bin/cat /sys/class/net/%k/address", RESULT=="{MAC}", NAME="lan0"\n', False),
        (f'ENV{{VIRT}}!="xen", GOTO="end"\n{NET}{ADDRESS}, NAME="lan0"\nLABEL="end"\n', False),
    ],
)
def test_other_words_of_rules_tie_a_mac_and_what_is_not_sure_does_not_hold(rules: str, holds: bool) -> None:
    texts = {pinning.RULES: rules}
    assert pinning.read(texts) == {"lan0": MAC}
    assert pinning.holding(texts, "vmxnet3") == ({"lan0": MAC} if holds else {})


@pytest.mark.parametrize("place", ['DEVPATH=="*/vif-0/net/*"', 'ENV{ID_PATH}=="xen-vif-0"', 'KERNELS=="vif-0"'])
def test_a_place_on_xens_bus_is_one_by_whatever_key(place: str) -> None:
    assert pinning.renamed({pinning.RULES: f'{NET}{place}, NAME="lan0"\n'}) == {"vif-0": "lan0"}


def test_a_last_rule_that_goes_on_does_not_take_in_what_is_added() -> None:
    for end in ("\\", "\\\n", "\\\n# a remark\n"):
        made = pinning.rules(f'{NET}ATTR{{address}}=="00:16:3e:99:00:00", NAME="eth9"{end}', {"lan0": MAC}, driver="vmxnet3")
        assert pinning.holding({pinning.RULES: made}, "vmxnet3") == {"lan0": MAC, "eth9": "00:16:3e:99:00:00"}


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({"05-mtu.link": f"{BY_MAC}MTUBytes=9000\n", "20-b.link": f"{BY_MAC}Name=lan0\n"}, {}),
        ({"09-all.link": "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep\n", "20-b.link": f"{BY_MAC}Name=lan0\n"}, {}),
        (
            {"20-b.link": f"{BY_MAC}Name=lan0\n", "99-default.link": "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep\n"},
            {"lan0": MAC},
        ),
        ({"20-b.link": f"{BY_MAC}Name=lan0\n", "30-c.link": f"{BY_MAC}Name=lan5\n"}, {"lan0": MAC}),
    ],
)
def test_of_link_files_the_first_that_fits_counts_even_without_a_name(files: dict[str, str], read: dict[str, str]) -> None:
    texts = {LINKS + name: content for name, content in files.items()}
    assert pinning.read(texts) == pinning.holding(texts, "vmxnet3") == read


def test_a_link_file_that_sets_other_things_of_the_nic_gets_the_name_and_keeps_them(facts: GuestFacts) -> None:
    path, before = LINKS + "10-lan0.link", f"{BY_MAC}NamePolicy=kernel\nMTUBytes=9000\n"
    after = edits(facts, **{path: before})[path]
    assert after == f"{BY_MAC}MTUBytes=9000\n\n[Link]\nName=lan0\n"
    assert pinning.holding({path: after}, "vmxnet3") == {"lan0": MAC}


def test_where_udev_reads_no_link_files_a_unit_gives_the_names(facts: GuestFacts) -> None:
    assert pinning.UNIT not in edits(facts)
    assert pinning.UNIT in edits(facts.model_copy(update={"links_masked": True}))
    assert pinning.UNIT in edits(facts, **{pinning.LINKS_RULE: "# nothing\n"})
    assert pinning.UNIT in edits(facts, **{LINKS + "05-all.link": "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep\n"})


def test_a_mac_that_a_link_file_gives_is_told() -> None:
    for setting in ("MACAddress=02:00:00:00:00:01", "MACAddressPolicy=random"):
        notes = pinning.told({LINKS + "10-a.link": f"[Match]\nOriginalName=eth0\n[Link]\n{setting}\n"})
        assert [(n.code, n.facts["setting"]) for n in notes] == [("mac-in-file", setting.partition("=")[0])]
