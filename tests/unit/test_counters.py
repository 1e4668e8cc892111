"""What guests count, as old and new programs print it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.network import counters
from hikkoshi.network.counters import Feature, Ring, Traffic

DATA = Path(__file__).parents[1] / "data" / "counters"
NAME = st.from_regex(r"[A-Z][A-Za-z0-9]{0,12}", fullmatch=True)
COUNT = st.integers(-1, 2**63)
PARSERS = (
    counters.protocols,
    counters.traffic,
    counters.features,
    counters.settings,
    counters.statistics,
    counters.ring,
    counters.per_processor,
    counters.queue_drops,
    counters.parameters,
)


@given(st.dictionaries(NAME, st.dictionaries(NAME, COUNT, min_size=1, max_size=6), max_size=4))
def test_every_protocol_counter_is_read_under_the_name_that_nstat_gives_it(tables: dict[str, dict[str, int]]) -> None:
    text = "".join(f"{name}: {' '.join(row)}\n{name}: {' '.join(map(str, row.values()))}\n" for name, row in tables.items())
    wanted = {name + key: value for name, row in tables.items() for key, value in row.items()}
    found = counters.protocols(text)
    # two tables may make the same long name: Ab + c and A + bc
    assert found.keys() == wanted.keys()
    assert all(found[k] == v for k, v in wanted.items() if sum(k == n + x for n, r in tables.items() for x in r) == 1)


def test_a_line_of_values_that_does_not_fit_its_names_is_left_out() -> None:
    assert counters.protocols("Ip: A B\nIp: 1\nTcp: C\nTcp: 2\n") == {"TcpC": 2}
    assert counters.protocols("Ip: A B\nIp: 1 x\n") == {}


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9.:-]{0,10}[a-z0-9]", fullmatch=True), st.tuples(*[st.integers(0, 2**64)] * 16)),
    st.sampled_from(["", " ", "      "]),
)
def test_a_line_of_proc_net_dev_is_read_with_and_without_a_space(lines: dict[str, tuple[int, ...]], gap: str) -> None:
    text = "Inter-| Receive | Transmit\n face |bytes\n" + "".join(
        f"{nic:>6}:{gap if gap else ' '[: value[0] == 0]}{' '.join(map(str, value))}\n" for nic, value in lines.items()
    )
    assert counters.traffic(text) == {nic: Traffic(*value) for nic, value in lines.items()}


def test_flags_of_old_and_new_ethtool_have_one_name() -> None:
    old = counters.features("Offload parameters for eth0:\ntcp segmentation offload: on\ngeneric segmentation offload: off\n")
    new = counters.features(
        "Features for eth0:\ntcp-segmentation-offload: on\n\ttx-tcp6-segmentation: off [requested on]\n"
        "large-receive-offload: off [fixed]\nudp-fragmentation-offload: off\n"
    )
    assert old == {"tcp-segmentation-offload": Feature(True, False), "generic-segmentation-offload": Feature(False, False)}
    assert new["tcp-segmentation-offload"] == Feature(True, False)
    assert new["large-receive-offload"] == Feature(False, True)
    assert new["tx-tcp6-segmentation"] == Feature(False, False)


def test_what_ethtool_cannot_tell_is_no_flag() -> None:
    assert counters.features("Cannot get device flags: Operation not supported\nno offload info available\n") == {}


def test_counters_that_a_driver_repeats_for_each_queue_are_added_up() -> None:
    text = "NIC statistics:\n     Rx Queue#: 0\n       LRO pkts rx: 5\n     Rx Queue#: 1\n       LRO pkts rx: 7\n     x: y: 2\n"
    assert counters.statistics(text) == {"LRO pkts rx": 12, "x: y": 2}


def test_a_receive_ring_has_its_size_and_its_limit() -> None:
    text = "Pre-set maximums:\nRX:\t\t4096\nRX Mini:\t0\nTX:\t4096\nCurrent hardware settings:\nRX:\t\t256\nTX:\t512\n"
    assert counters.ring(text) == Ring(now=256, most=4096)
    assert counters.ring(text.replace("256", "n/a")) is None
    assert counters.ring("netlink error: Operation not supported\n") is None


def test_counts_of_every_processor_are_added_up_from_hexadecimal() -> None:
    text = "entries  found drop early_drop\n00000010  00000000 0000000a 00000000\n00000010  00000001 0000000b 00000000\n"
    assert counters.per_processor(text)["drop"] == 21
    assert counters.per_processor("cat: no such file\n") == {}


def test_packets_that_queues_dropped_are_added_up() -> None:
    text = "qdisc mq 0: root\n Sent 9 bytes 1 pkt (dropped 3, overlimits 0 requeues 0)\n Sent 1 bytes (dropped 4, overlimits"
    assert counters.queue_drops(text) == 7
    assert counters.queue_drops("sh: tc: not found") is None


def test_parameters_are_the_names_before_the_colon() -> None:
    assert counters.parameters("disable_lro:Disable LRO (int)\nnum_tqs:queues: transmit (array of int)\n") == {
        "disable_lro",
        "num_tqs",
    }
    assert counters.parameters("modinfo: ERROR: Module vmxnet3 not found.\n") <= {"modinfo"}


def test_of_a_setting_told_twice_the_first_counts_and_colons_may_follow() -> None:
    assert counters.settings("driver: vmxnet3\nbus-info: 0000:0b:00.0\ndriver: x\n") == {
        "driver": "vmxnet3",
        "bus-info": "0000:0b:00.0",
    }


@given(st.text() | st.text(st.sampled_from("IpTcp:RX 0123-abf\n\t[]fixedonoff()dropped"), max_size=200))
def test_no_text_at_all_makes_a_parser_fail(text: str) -> None:
    for parser in PARSERS:
        parser(text)


def test_complaints_and_marks_of_ethtool_make_no_flags() -> None:
    found = counters.features((DATA / "ethtool-k-complaints.txt").read_text())
    assert found["tcp-segmentation-offload"].on
    assert not found["generic-receive-offload"].on
    assert "large-receive-offload" not in found
    assert not [name for name in found if "annot" in name]
    marked = counters.features((DATA / "ethtool-k-marks.txt").read_text())
    assert marked["large-receive-offload"] == Feature(False, True)
    assert marked["generic-receive-offload"] == Feature(True, False)
    assert marked["tx-checksum-ip-generic"] == Feature(False, False)


def test_each_counter_of_each_kernel_is_read_by_its_name() -> None:
    found = {path.name: counters.protocols(path.read_text()) for path in DATA.glob("snmp-*")}
    new = found["snmp-5.x"]
    assert [new[n] for n in ("IpFragFails", "IcmpInDestUnreachs", "IcmpInCsumErrors", "UdpInErrors", "IpOutTransmits")] == [
        *(436, 3, 1, 5, 91234)
    ]
    assert (found["snmp-2.6.9"]["IpFragFails"], "IpOutTransmits" in found["snmp-2.6.9"]) == (211, False)
    assert (found["snmp-large"]["IpExtInOctets"], found["snmp-large"]["TcpMaxConn"]) == (18446744073709551610, -1)
    assert "UdpInErrors" not in found["snmp-twice"]  # its line is shorter than its names
    assert found["snmp-twice"]["UdpLiteNoPorts"] == 2
