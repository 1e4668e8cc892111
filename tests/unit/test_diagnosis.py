"""The cause named from counters: every rule, what refutes it, and what only looks like LRO."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.counters import Feature, Ring, Traffic
from hikkoshi.network.diagnosis import snapshot
from hikkoshi.network.diagnosis.aggregation import COUNTER, WARNING
from hikkoshi.network.diagnosis.diagnosis import Diagnosis, diagnose, reconciled
from hikkoshi.network.diagnosis.findings import Finding
from hikkoshi.network.diagnosis.snapshot import NicState, Snapshot

DATA = Path(__file__).parents[1] / "data/diagnosis"
CASES = sorted(DATA.glob("*.txt"))
BLANK = snapshot.parse("@hikkoshi 0011223344556677\n@0011223344556677 0 uname -r\n2.6.32\n@0011223344556677 end\n")
ON, OFF, FIXED = Feature(True, False), Feature(False, False), Feature(False, True)
ZERO = dict.fromkeys(
    [
        *("IpFragFails", "IpInReceives", "IpInDelivers", "IpForwDatagrams", "IcmpOutDestUnreachs", "IcmpInDestUnreachs"),
        *("TcpRetransSegs", "TcpOutSegs", "TcpInErrs", "TcpExtIPReversePathFilter", "TcpExtTCPFastRetrans"),
        *("TcpExtTCPTimeouts", "TcpExtTCPToZeroWindowAdv", "TcpExtTCPWinProbe"),
    ],
    0,
)


def observed(path: Path) -> Diagnosis:
    pieces = re.split(r"^==== (\w+) (?:before|after)\n", path.read_text(), flags=re.M)[1:]
    machines: dict[str, list[Snapshot]] = {}
    for who, raw in zip(pieces[::2], pieces[1::2], strict=True):
        machines.setdefault(who, []).append(snapshot.parse(raw, path.name))
    before, after = machines["guest"]
    pairs = {who: (pair[0], pair[1]) for who, pair in machines.items()}
    return diagnose(before, after, client=pairs.get("client"), server=pairs.get("server"))


def nic(name: str = "eth0", *, lro: Feature | None = None, gro: Feature | None = OFF, **more: Any) -> NicState:
    flags = {"large-receive-offload": lro, "generic-receive-offload": gro}
    features = {key: flag for key, flag in flags.items() if flag}
    return NicState(**{"name": name, "mac": "00:16:3e:05:00:00", "mtu": 1500, "driver": "vmxnet3", "features": features} | more)


def carried(packets: int, size: int, **more: int) -> Traffic:
    zero = dict.fromkeys(Traffic._fields, 0)
    return Traffic(**zero | {"rx_packets": packets, "rx_bytes": packets * size} | more)


def machine(*nics: NicState, forwards: bool | None = True, log: tuple[str, ...] = (), **more: Any) -> Snapshot:
    counts = ZERO | {k: v for k, v in more.items() if k in ZERO}
    rest = {k: v for k, v in more.items() if k not in ZERO}
    return replace(BLANK, nics={n.name: n for n in nics}, forwards=forwards, counts=counts, log=log, **rest)


def still(*nics: NicState, **more: Any) -> Snapshot:
    """A guest at rest: the collection before."""
    return machine(*(replace(n, traffic=carried(0, 0), oversized=None, told=None) for n in nics), **more)


def sent(again: int, first: int = 1000, **more: int) -> tuple[Snapshot, Snapshot]:
    """A client of a load."""
    return machine(forwards=False), machine(forwards=False, TcpRetransSegs=again, TcpOutSegs=first, **more)


def found(rule: str, result: Diagnosis) -> Finding | None:
    return next((f for f in result.findings if f.rule == rule), None)


def lossy(*nics: NicState, fails: int = 200, told: int | None = None, client: Any = None, **more: Any) -> Diagnosis:
    after = machine(*nics, IpFragFails=fails, IcmpOutDestUnreachs=fails if told is None else told, **more)
    return diagnose(still(*nics), after, client=client)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_a_recorded_or_written_case_gets_the_verdict_in_its_name(path: Path) -> None:
    result = observed(path)
    verdict = result.cause.replace(" ", "-").lower()
    assert verdict + (f"-{result.findings[0].certainty}" if verdict != "unknown" else "") == path.stem.split(".", 1)[1]


@pytest.mark.parametrize("path", [p for p in CASES if ".lro-" not in p.name], ids=lambda p: p.stem)
def test_what_only_looks_like_it_is_never_called_lro(path: Path) -> None:
    result = observed(path)
    assert result.cause != "LRO"
    harmful = {f.certainty for f in result.findings if f.name == "LRO"}
    assert harmful <= {"possible"}


class TestLro:
    merged = nic(lro=ON, traffic=carried(1000, 2400), told={1500: 90})

    def test_is_certain_where_the_flag_is_on_frames_are_too_long_and_all_counts_agree(self) -> None:
        result = lossy(self.merged, client=sent(430, IcmpInDestUnreachs=200))
        assert (result.cause, result.findings[0].rule, result.findings[0].certainty) == ("LRO", "R1", "certain")
        words = result.plain()
        for number in ("IpFragFails rose by 200", "TcpRetransSegs by 430", "90 messages", "eth0"):
            assert number in words

    def test_is_certain_where_only_the_drivers_counter_tells_of_it(self) -> None:
        before = nic(statistics={COUNTER: 5}, traffic=carried(0, 0))
        after = nic(statistics={COUNTER: 205}, traffic=carried(1000, 900))
        lost = machine(after, IpFragFails=200, IcmpOutDestUnreachs=200)
        result = diagnose(still(before), lost, client=sent(430, IcmpInDestUnreachs=200))
        assert (result.cause, result.findings[0].certainty) == ("LRO", "certain")

    def test_is_less_than_certain_where_a_tunnels_small_mtu_could_be_the_reason(self) -> None:
        unnamed = replace(self.merged, told=None)
        assert lossy(unnamed).findings[0].certainty == "likely"
        assert lossy(unnamed, client=sent(430, IcmpInDestUnreachs=3)).findings[0].certainty == "likely"
        assert lossy(unnamed, client=sent(430, IcmpInDestUnreachs=200)).findings[0].certainty == "certain"

    def test_is_likely_where_no_flag_can_be_read_and_only_the_frames_tell(self) -> None:
        for unreadable in (None, FIXED):
            result = lossy(replace(self.merged, features={"large-receive-offload": unreadable} if unreadable else {}))
            assert (result.cause, result.findings[0].rule, result.findings[0].certainty) == ("LRO", "R2", "likely")

    @pytest.mark.parametrize("seen", [{"told": {1500: 90}}, {"traffic": carried(1000, 2400)}, {"oversized": 40, "gro": OFF}])
    def test_needs_any_one_sign_of_merged_frames(self, seen: dict[str, Any]) -> None:
        assert lossy(nic(lro=FIXED, **seen)).cause == "LRO"
        assert lossy(nic(lro=FIXED)).cause == "unknown"

    def test_frames_that_gro_may_have_merged_prove_nothing_unless_a_sender_was_told_and_could_not_help_it(self) -> None:
        blurred = nic(lro=FIXED, gro=ON, oversized=40)
        assert lossy(blurred).cause == "unknown"
        assert lossy(blurred, client=sent(430, IcmpInDestUnreachs=200)).cause == "LRO"
        assert lossy(blurred, client=sent(430, IcmpInDestUnreachs=3)).cause == "unknown"

    def test_is_refuted_where_it_is_off_on_every_nic(self) -> None:
        result = lossy(nic(lro=OFF, traffic=carried(1000, 2400)))
        assert result.cause == "receive aggregation"

    def test_is_refuted_by_nics_with_different_mtus(self) -> None:
        other = nic("eth1", mtu=1400, lro=ON)
        assert lossy(self.merged, other).cause != "LRO"

    def test_is_refuted_by_messages_that_name_a_smaller_mtu(self) -> None:
        result = lossy(nic(lro=ON, traffic=carried(1000, 2400), told={1400: 90}))
        assert result.cause == "MTU mismatch"

    def test_is_refuted_by_lost_packets_of_which_no_sender_was_told(self) -> None:
        assert lossy(self.merged, told=20).cause == "unknown"

    def test_is_less_than_certain_where_the_sender_lost_nothing(self) -> None:
        result = lossy(self.merged, client=sent(0, IcmpInDestUnreachs=0))
        assert result.findings[0].certainty == "likely"

    def test_is_less_than_certain_where_more_was_unreachable_than_was_lost(self) -> None:
        assert lossy(self.merged, told=300).findings[0].certainty == "likely"

    def test_is_safe_on_a_guest_that_forwards_nothing_and_it_is_told_so(self) -> None:
        result = lossy(self.merged, forwards=False)
        assert result.cause == "unknown"
        told = found("R1", result)
        assert told
        assert (told.name, told.harmful) == ("LRO is safe here", False)

    def test_is_never_certain_where_it_is_unknown_whether_the_guest_forwards(self) -> None:
        assert lossy(self.merged, forwards=None).findings[0].certainty == "likely"

    def test_does_no_harm_where_all_passes_although_frames_are_merged(self) -> None:
        result = diagnose(still(self.merged), machine(self.merged, IpForwDatagrams=50_000, IpInReceives=50_000))
        harmless = found("R3", result)
        assert harmless
        assert not harmless.harmful
        assert result.cause == "unknown"

    def test_is_only_possible_where_it_is_on_and_next_to_nothing_passed(self) -> None:
        result = diagnose(still(nic(lro=ON)), machine(nic(lro=ON), IpForwDatagrams=50))
        assert (result.cause, result.findings[0].certainty) == ("unknown", "possible")

    def test_is_certain_where_the_kernel_says_so_of_one_of_the_guests_nics(self) -> None:
        line = f"[  99.1] eth0: {WARNING}"
        now = diagnose(still(nic()), machine(nic(), log=(line,)))
        assert (now.cause, now.findings[0].rule, now.findings[0].certainty) == ("LRO", "R4", "certain")

    def test_is_not_named_for_an_old_warning_or_one_of_another_machines_nic(self) -> None:
        old, other = f"eth0: {WARNING}", f"enp9s0: {WARNING}"
        assert diagnose(still(nic(), log=(old,)), machine(nic(), log=(old,))).findings == ()
        assert diagnose(still(nic()), machine(nic(), log=(other,))).findings == ()
        on = nic(lro=ON)
        warned = found("R4", diagnose(still(on, log=(old,)), machine(on, log=(old,))))
        assert warned
        assert warned.certainty == "possible"


class TestReceiveAggregation:
    merged = nic(lro=FIXED, gro=ON, oversized=30)
    load: ClassVar = {"IpInReceives": 900, "IpForwDatagrams": 800}

    def test_is_likely_where_frames_are_merged_and_packets_vanish_in_the_guest(self) -> None:
        result = diagnose(still(self.merged), machine(self.merged, **self.load), client=sent(274, 394))
        assert (result.cause, result.findings[0].certainty) == ("receive aggregation", "likely")
        assert "100 packets came in" in result.plain()

    def test_is_no_cause_where_nothing_vanishes_or_little_is_sent_again(self) -> None:
        whole = self.load | {"IpForwDatagrams": 900}
        assert diagnose(still(self.merged), machine(self.merged, **whole), client=sent(274, 394)).cause == "unknown"
        assert diagnose(still(self.merged), machine(self.merged, **self.load), client=sent(2, 3000)).cause == "unknown"
        assert diagnose(still(nic()), machine(nic(), **self.load), client=sent(274, 394)).cause == "unknown"


class TestMtu:
    plain, small = nic(oversized=0), nic("eth1", mtu=1400, oversized=0)

    def test_is_certain_where_mtus_differ_and_no_frame_is_too_long(self) -> None:
        result = lossy(self.plain, self.small, fails=16)
        assert (result.cause, result.findings[0].rule, result.findings[0].certainty) == ("MTU mismatch", "R5", "certain")
        assert "eth1 1400" in result.plain()

    def test_is_likely_without_tcpdump(self) -> None:
        result = lossy(nic(), nic("eth1", mtu=1400), fails=16)
        assert (result.cause, result.findings[0].certainty) == ("MTU mismatch", "likely")

    def test_is_certain_where_the_messages_name_it_though_all_nics_have_one_mtu(self) -> None:
        result = lossy(nic(oversized=0, told={1280: 12}), nic("eth1", oversized=0), fails=12)
        assert (result.cause, result.findings[0].certainty) == ("MTU mismatch", "certain")

    def test_costs_nothing_where_the_sender_heard_of_it(self) -> None:
        result = lossy(self.plain, self.small, fails=16, client=sent(12, 30_000, IcmpInDestUnreachs=16))
        assert (result.cause, result.findings[0].certainty) == ("unknown", "possible")

    def test_is_not_named_where_nothing_was_too_long(self) -> None:
        assert lossy(self.plain, self.small, fails=0).findings == ()


class TestLookAlikes:
    def test_half_duplex_with_late_collisions_is_certain_alone_likely(self) -> None:
        half = nic(driver="tg3", link={"Duplex": "Half", "Speed": "100Mb/s"}, statistics={"late_collisions": 0})
        late = replace(half, statistics={"late_collisions": 40})
        assert diagnose(still(half), machine(late)).findings[0].certainty == "certain"
        assert diagnose(still(half), machine(half)).cause == "duplex mismatch"
        full = replace(late, link={"Duplex": "Full"}, statistics={"late_collisions": 0})
        assert diagnose(still(full), machine(full)).findings == ()

    def test_wrong_checksums_are_seen_on_any_machine(self) -> None:
        for who in ("client", "server"):
            bad = machine(forwards=False), machine(forwards=False, TcpInErrs=40)
            result = diagnose(still(nic()), machine(nic()), **{who: bad})
            assert result.cause == "corrupted checksums"
            assert f"On the {who}" in result.plain()
        assert diagnose(still(nic()), machine(nic(), TcpInErrs=3)).findings == ()

    def test_a_full_connection_table_is_certain_where_packets_were_dropped_for_it(self) -> None:
        full = {"conntrack": (65_536, 65_536), "conntrack_drops": 0}
        result = diagnose(still(nic(), **full), machine(nic(), **full | {"conntrack_drops": 3}))
        assert (result.cause, result.findings[0].certainty) == ("conntrack table full", "certain")
        assert diagnose(still(nic(), **full), machine(nic(), **full)).findings[0].certainty == "likely"
        roomy = {"conntrack": (60_000, 65_536), "conntrack_drops": 0}
        assert diagnose(still(nic(), **roomy), machine(nic(), **roomy)).findings == ()

    def test_an_old_line_of_a_full_table_is_no_news(self) -> None:
        line = "nf_conntrack: table full, dropping packet."
        assert diagnose(still(nic(), log=(line,)), machine(nic(), log=(line,))).findings == ()
        assert diagnose(still(nic(), log=(line,)), machine(nic(), log=(line, line))).cause == "conntrack table full"

    def test_a_strict_reverse_path_filter_is_named_when_it_drops(self) -> None:
        strict = nic(rp_filter=1)
        result = diagnose(still(strict), machine(strict, TcpExtIPReversePathFilter=12))
        assert (result.cause, result.findings[0].certainty) == ("reverse path filter", "certain")
        assert diagnose(still(strict), machine(strict, TcpExtIPReversePathFilter=2)).findings == ()

    def test_on_kernels_without_its_counter_the_log_tells_of_it(self) -> None:
        old = {k: v for k, v in ZERO.items() if k != "TcpExtIPReversePathFilter"}
        strict = replace(machine(nic(rp_filter=1)), counts=old)
        told = replace(strict, log=("martian source 10.5.2.20 from 10.3.2.20, on dev eth0",))
        assert diagnose(strict, told).cause == "reverse path filter"

    def test_a_receive_ring_that_overflows_is_named_with_its_size(self) -> None:
        before = nic(statistics={"pkts rx OOB": 0}, ring=Ring(256, 4096))
        after = replace(before, statistics={"pkts rx OOB": 700}, traffic=carried(50_000, 900))
        result = diagnose(still(before), machine(after))
        assert (result.cause, result.findings[0].certainty) == ("receive ring too small", "certain")
        assert "256 of at most 4096" in result.plain()
        few = replace(after, statistics={"pkts rx OOB": 20})
        assert diagnose(still(before), machine(few)).findings == ()

    @pytest.mark.parametrize("driver", ["e1000", "pcnet32", "vlance"])
    def test_an_emulated_adapter_is_named_only_where_it_loses(self, driver: str) -> None:
        before = nic(driver=driver, statistics={"rx_missed_errors": 0})
        assert diagnose(still(before), machine(before)).cause == "unknown"
        after = replace(before, statistics={"rx_missed_errors": 500})
        assert diagnose(still(before), machine(after)).cause == "emulated adapter"

    def test_a_link_lost_under_load_is_certain_one_that_never_was_likely(self) -> None:
        up, down = nic(carrier=True), nic(carrier=False)
        assert diagnose(still(up), machine(down)).findings[0].certainty == "certain"
        assert diagnose(still(down), machine(down)).findings[0].certainty == "likely"
        assert diagnose(still(nic(carrier=None)), machine(nic(carrier=None))).findings == ()  # switched off

    def test_a_nic_on_which_nobody_answers_is_on_the_wrong_segment_if_others_answer(self) -> None:
        nics = nic(), nic("eth1")
        result = diagnose(still(*nics), machine(*nics, neighbours={"eth0": (3, 0), "eth1": (0, 2)}))
        assert result.cause == "wrong segment"
        assert diagnose(still(*nics), machine(*nics, neighbours={"eth0": (0, 1), "eth1": (0, 2)})).findings == ()

    def test_a_receiver_that_closes_its_window_is_slow_unless_much_is_lost(self) -> None:
        closed = machine(forwards=False), machine(forwards=False, TcpExtTCPToZeroWindowAdv=17)
        assert diagnose(still(nic()), machine(nic()), client=sent(0), server=closed).cause == "slow peer"
        assert diagnose(still(nic()), machine(nic()), client=sent(400), server=closed).cause != "slow peer"

    def test_a_queue_without_room_is_congestion(self) -> None:
        full = {"TcpExtTCPFastRetrans": 70}
        before, after = nic(queue_drops=4), nic(queue_drops=78)
        result = diagnose(still(before), machine(after), client=sent(74, 2600, **full))
        assert (result.cause, result.findings[0].certainty) == ("congestion", "certain")
        assert "74 packets found no room in the queue of eth0" in result.plain()
        beyond = diagnose(still(before), machine(before), client=sent(74, 2600, **full))
        assert (beyond.cause, beyond.findings[0].certainty) == ("congestion", "likely")
        assert diagnose(still(before), machine(before), client=sent(1, 26_000)).findings == ()

    def test_the_more_certain_comes_first_and_is_the_cause(self) -> None:
        card = nic(driver="e1000", statistics={"rx_missed_errors": 0}, carrier=True)
        worse = replace(card, statistics={"rx_missed_errors": 50}, carrier=False)
        result = diagnose(still(card), machine(worse))
        assert [f.certainty for f in result.findings] == ["certain", "likely"]
        assert result.cause == "link down"


def test_nothing_to_see_is_unknown_and_says_what_was_not_there() -> None:
    result = diagnose(still(nic()), machine(nic(), missing=frozenset({"ethtool", "tcpdump"})))
    assert (result.cause, result.findings, result.rows()) == ("unknown", (), [])
    assert "not there: ethtool, tcpdump" in result.plain()


def test_collections_with_a_restart_between_are_refused_for_every_machine_at_once() -> None:
    one, other = machine(nic(), boot="a", time=5), machine(nic(), boot="b", time=9)
    with pytest.raises(BadInput, match="2 problems") as e:
        diagnose(one, other, client=(one, other))
    assert "the guest was started anew" in str(e.value)
    with pytest.raises(BadInput, match="older than the first"):
        diagnose(machine(nic(), time=9), machine(nic(), time=5))


def test_a_counter_that_went_back_is_unknown_and_not_a_rise() -> None:
    result = diagnose(machine(nic(), IpFragFails=500), machine(nic(), IpFragFails=3))
    assert result.counts.fragmentation_failures is None


def test_counts_of_the_same_are_reconciled_row_by_row() -> None:
    result = lossy(TestLro.merged, client=sent(430, IcmpInDestUnreachs=200))
    rows = {(str(r["count"]), str(r["where"])): r for r in reconciled(result)}
    same = [rows["IpFragFails", "guest"], rows["IcmpOutDestUnreachs", "guest"], rows["IcmpInDestUnreachs", "client"]]
    assert {r["number"] for r in same} == {200}
    assert len({r["meaning"] for r in same}) == 1
    assert rows["TcpRetransSegs", "client"]["number"] == 430
    assert rows["tcpdump", "guest"]["number"] is None


def test_a_diagnosis_comes_back_from_json_as_it_was() -> None:
    result = lossy(TestLro.merged)
    assert Diagnosis.model_validate_json(result.model_dump_json()) == result


FLAG = st.sampled_from([None, ON, OFF, FIXED])
SMALL = st.integers(0, 400)
NICS = st.lists(
    st.builds(
        lambda lro, gro, mtu, mean, over, told, merged: nic(
            lro=lro, gro=gro, mtu=mtu, traffic=carried(1000, mean), oversized=over, told=told, statistics={COUNTER: merged}
        ),
        *(FLAG, FLAG, st.sampled_from([1500, 1500, 1500, 1400, 9000]), st.sampled_from([60, 900, 1514, 2400, 9100])),
        *(st.none() | SMALL, st.none() | st.dictionaries(st.sampled_from([1280, 1500, 9000]), SMALL), SMALL),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=400)
@given(NICS, SMALL, SMALL, st.none() | st.tuples(SMALL, SMALL), st.sampled_from([True, True, False, None]))
@example([TestLro.merged], 200, 200, (430, 200), True)
def test_lro_is_certain_only_with_every_one_of_its_conditions(
    nics: list[NicState], fails: int, told: int, client: tuple[int, int] | None, forwards: bool | None
) -> None:
    cards = [replace(n, name=f"eth{k}") for k, n in enumerate(nics)]
    before = [replace(n, statistics={COUNTER: 0}) for n in cards]
    after = machine(*cards, IpFragFails=fails, IcmpOutDestUnreachs=told, forwards=forwards)
    load = sent(client[0], IcmpInDestUnreachs=client[1]) if client else None
    result = diagnose(still(*before, forwards=forwards), after, client=load)
    merged = sum(n.statistics.get(COUNTER, 0) for n in cards)
    long = [n for n in cards if n.traffic and n.mtu and n.traffic.rx_bytes > n.traffic.rx_packets * (n.mtu + 18)]
    seen = sum(n.oversized or 0 for n in cards if n.gro in (OFF, FIXED))
    own = sum(c for n in cards for mtu, c in (n.told or {}).items() if mtu >= (n.mtu or 0))
    small = sum(c for n in cards for mtu, c in (n.told or {}).items() if mtu < (n.mtu or 0))
    conditions = {
        "the guest forwards": forwards is True,
        "packets were lost as too long": fails >= 10,
        "clients were told as often": abs(fails - told) <= max(3, 0.1 * max(fails, told)),
        "the NIC merges": merged > 0 or any(n.lro == ON for n in cards),
        "frames are longer than the MTU": bool(merged or long or seen or own),
        "all NICs have one MTU": len({n.mtu for n in cards}) == 1,
        "no message names a smaller one": small == 0,
        "the client sent again": client is None or client[0] >= 10,
        "no MTU of a route explains it": own > 0 or (client is not None and client[1] >= max(10, fails / 2)),
    }
    certain = any(f.name == "LRO" and f.certainty == "certain" for f in result.findings)
    assert not certain or all(conditions.values()), conditions
    if all(conditions.values()):
        assert certain
