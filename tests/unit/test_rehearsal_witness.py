"""What the guest says about itself on its serial console."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.rehearsal import witness
from hikkoshi.rehearsal.machine import MachineNic
from hikkoshi.rehearsal.outcome import SeenNic
from hikkoshi.rehearsal.witness import WitnessStatement

DATA = Path(__file__).parents[1] / "data" / "rehearsal"


def report(*lines: str, promised: int | None = None) -> str:
    return "\n".join(["HIKKOSHI begin", *lines, f"HIKKOSHI end {len(lines) if promised is None else promised}", ""])


HEAD = ("kernel 2.6.18-398.el5", "root /dev/sda2")
ETH0 = "nic eth0 00:16:3e:05:00:00 vmxnet3 10.3.1.254/24"


def test_ten_nics_are_read_from_a_real_console() -> None:
    told = witness.read((DATA / "login.console.txt").read_text())
    assert told is not None
    assert (told.kernel, told.root) == ("6.1.0-56-amd64", "/dev/sda2")
    assert [n.name for n in told.nics] == [f"eth{n}" for n in range(10)]
    assert {n.driver for n in told.nics} == {"vmxnet3"}
    assert told.nics[7] == SeenNic(name="eth7", mac="00:16:3e:05:00:07", driver="vmxnet3", addresses=("10.5.3.254/24",))


def test_a_nic_that_its_start_script_refused_has_no_address() -> None:
    told = witness.read((DATA / "login-eth1-without-address.console.txt").read_text())
    assert told is not None
    assert [n.addresses for n in told.nics] == [("10.3.1.254/24",), (), ("10.3.3.254/24",)]


def test_an_address_that_is_not_there_yet_is_waited_for_and_one_by_dhcp_is_not() -> None:
    told = witness.read((DATA / "login-eth1-without-address.console.txt").read_text())
    assert told is not None
    eth0, eth1, _ = (MachineNic(name=nic.name, mac=nic.mac, address="10.3.1.254/24") for nic in told.nics)
    assert not told.lacks([eth0])
    assert told.lacks([eth0, eth1])
    assert not told.lacks([eth0, eth1.model_copy(update={"address": ""})])


def test_carriage_returns_and_other_output_around_a_report_are_no_matter() -> None:
    console = "INIT: Entering runlevel: 3\n" + report(*HEAD, ETH0) + "\ngateway login: "
    told = witness.read(console.replace("\n", "\r\n"))
    assert told is not None
    assert told.nics[0].addresses == ("10.3.1.254/24",)


def test_a_report_that_the_kernel_broke_into_is_passed_over_for_a_whole_one() -> None:
    broken = report(*HEAD, ETH0[:20] + "[   20.1] random: crng init done")
    assert witness.read(broken) is None
    whole = witness.read(report(*HEAD, ETH0) + broken)
    assert whole is not None
    assert whole.nics[0].mac == "00:16:3e:05:00:00"


def test_a_report_with_a_line_lost_does_not_count() -> None:
    assert witness.read(report(*HEAD, ETH0, promised=4)) is None


def test_an_unfinished_report_does_not_count() -> None:
    assert witness.read(report(*HEAD, ETH0).rpartition("HIKKOSHI")[0]) is None


def test_the_last_report_counts() -> None:
    assert witness.read(report("kernel a", "root ") + report("kernel b", "root ")) == WitnessStatement("b", "", ())


def test_the_old_ifconfigs_netmask_becomes_a_prefix_length() -> None:
    told = witness.read(report(*HEAD, "nic eth0 00:16:3e:05:00:00 e1000 10.3.1.254/255.255.255.0"))
    assert told is not None
    assert told.nics[0].addresses == ("10.3.1.254/24",)


def test_a_nic_without_driver_or_with_two_addresses_is_read() -> None:
    told = witness.read(report(*HEAD, "nic eth0 00:16:3e:05:00:00 ", ETH0 + " 10.3.1.1/32 fd00::2/64"))
    assert told is not None
    assert [(n.driver, n.addresses) for n in told.nics] == [("", ()), ("vmxnet3", ("10.3.1.254/24", "10.3.1.1/32", "fd00::2/64"))]


def test_what_is_no_address_spoils_the_report() -> None:
    assert witness.read(report(*HEAD, ETH0.replace("254", "999"))) is None


def test_whether_a_nic_merges_what_it_receives_is_told_where_ethtool_tells_it() -> None:
    told = witness.read(report(*HEAD, ETH0 + " lro=on", ETH0 + " lro=off", ETH0))
    assert told is not None
    assert [n.lro for n in told.nics] == ["on", "off", ""]
    assert witness.read(report(*HEAD, ETH0 + " lro=maybe")) is None


def test_services_that_failed_are_told_after_the_nics() -> None:
    told = witness.read(report(*HEAD, ETH0, "failed nginx.service", r"failed dev-disk\x2dby.swap"))
    assert told is not None
    assert told.failed == ("nginx.service", r"dev-disk\x2dby.swap")
    assert len(told.nics) == 1


def test_an_init_that_knows_of_no_services_is_told_from_one_in_which_none_failed() -> None:
    for lines, asked in (((), False), (("services asked",), True), (("services asked", "failed a.service"), True)):
        told = witness.read(report(*HEAD, ETH0, *lines))
        assert told is not None
        assert (told.asked, len(told.nics)) == (asked, 1)


def test_what_is_no_name_of_a_service_spoils_the_report() -> None:
    assert witness.read(report(*HEAD, ETH0, "failed <b>nginx</b>")) is None
    assert witness.read(report(*HEAD, *["failed a.service"] * 31)) is None


def test_a_guest_cannot_make_us_read_without_end() -> None:
    nic = "nic eth0 00:16:3e:05:00:00 vmxnet3"
    assert witness.read(report(*HEAD, *[nic] * 64)) is not None
    assert witness.read(report(*HEAD, *[nic] * 65)) is None
    assert witness.read(report(*HEAD, ETH0) + "x" * witness.TAIL) is None


@given(st.text(alphabet=st.sampled_from("HIKOS begindkrloticv 0123456789:./\n\r"), max_size=300))
def test_any_console_is_read_without_failing(noise: str) -> None:
    witness.read(noise)
    assert witness.read(noise + "\n" + report(*HEAD, ETH0) + noise.replace("HIKKOSHI", "")) is not None


words = st.from_regex(r"[a-z][a-z0-9_-]{0,11}", fullmatch=True)
addresses = st.tuples(st.ip_addresses(), st.integers(0, 32)).map(lambda p: f"{p[0]}/{p[1]}")
nics = st.builds(
    SeenNic,
    name=words,
    mac=st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":")),
    driver=words | st.just(""),
    addresses=st.lists(addresses, max_size=3).map(tuple),
    lro=st.sampled_from(["on", "off", ""]),
)


@given(st.lists(nics, max_size=12))
def test_what_the_script_writes_is_what_is_read(seen: list[SeenNic]) -> None:
    lines = [" ".join(["nic", n.name, n.mac, n.driver, *n.addresses, *([f"lro={n.lro}"] if n.lro else [])]) for n in seen]
    assert witness.read(report(*HEAD, *lines)) == WitnessStatement("2.6.18-398.el5", "/dev/sda2", tuple(seen))


def test_the_first_start_and_its_scripts_are_read() -> None:
    told = witness.read(report(*HEAD, ETH0, "first begun 01-a.sh", "first ended 01-a.sh 3", "first complete"))
    assert told is not None
    assert (told.first_state, told.first) == ("complete", ("begun 01-a.sh", "ended 01-a.sh 3", "complete"))
    waiting = witness.read(report(*HEAD, ETH0, "first waits"))
    assert waiting is not None
    assert waiting.first_state == "running"


TOLD = ("LoadState loaded", "UnitFileState enabled", "ConditionResult yes", "ExecMainStartTimestampMonotonic 23419182")


def test_the_service_of_vmware_tools_is_read_as_systemd_tells_it() -> None:
    none = [f"tools vmtoolsd {line}" for line in ("LoadState not-found", "UnitFileState ", "ConditionResult no")]
    told = witness.read(report(*HEAD, "services asked", *none, *(f"tools open-vm-tools {line}" for line in TOLD)))
    assert told is not None
    assert str(told.tools) == "open-vm-tools: enabled, started, its condition met"
    assert not told.busy
    waits = witness.read(report(*HEAD, "services asked", *(f"tools open-vm-tools {line}" for line in TOLD[:3])))
    assert waits is not None
    assert waits.busy
