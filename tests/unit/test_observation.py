"""What one run of the cut-over observes: whom it pings, and which measurement is the cut-over's."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from hikkoshi.approval import plan as planning
from hikkoshi.approval.plan import Plan
from hikkoshi.guest.survey import Survey
from hikkoshi.network import host
from hikkoshi.network.outage import metering
from hikkoshi.network.outage.observation import Observation
from hikkoshi.network.outage.outage import Outages
from hikkoshi.params.home import Home
from hikkoshi.vsphere.cutover import InService

DATA = Path(__file__).parents[1] / "data"
OURS = {"eth0": "127.0.0.5/8"}  # where this machine has an address of its own, whatever else it has
SINCE = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture
def here(home: Home) -> Home:
    """A home whose gateway is watched from this machine; nothing is pinged in these tests."""
    path = home.root / "params" / "guests" / "gateway.yml"
    path.write_text(path.read_text().replace("watch: netns:outputs/lab/netns/admin", "watch: here"))
    return home


def plan(home: Home, addresses: dict[str, str] | None = None) -> Plan:
    survey = Survey.model_validate_json((DATA / "survey" / "gateway.json").read_text())
    made = planning.make(home, home.guest("gateway"), home.site(), survey)
    if addresses is None:
        return made
    nics = tuple(n.model_copy(update={"address": addresses.get(n.name, "")}) for n in made.machine.nics)
    return made.model_copy(update={"machine": made.machine.model_copy(update={"nics": nics})})


def observed(home: Home, run: str, made: Plan) -> Observation:
    return Observation(home, home.site(), home.guest("gateway"), run, segments=made.segments, addresses=made.addresses)


def measurement(home: Home, run: str, started: datetime, letters: str, *, whole: bool = True) -> None:
    """A meter's file of one segment, as hikkoshi.network.outage.meter writes it."""
    head = {
        "meter": 1,
        "started": started.isoformat(),
        "monotonic": 1.0,
        "rate": 20,
        "late_ms": 250,
        "socket": "raw",
        "targets": {"vlan301": "10.3.1.254"},
    }
    lines = [head, {"t": [50 * n for n in range(len(letters))], "f": [letters]}]
    if whole:
        lines.append({"end": "stopped", "t": 50 * len(letters), "cpu": 0.01})
    file = home.folder("gateway") / "outages" / f"{run}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_segment_is_pinged_at_the_guests_own_address(home: Home) -> None:
    found = plan(home).addresses
    assert len(found) == 10
    assert str(found["vlan301"]) == "10.3.1.254/24"


def test_two_nics_on_one_segment_are_two_targets(home: Home) -> None:
    made = plan(home)
    nics = (made.vm.nics[0], made.vm.nics[1].model_copy(update={"segment": "vlan301"}), *made.vm.nics[2:])
    found = made.model_copy(update={"vm": made.vm.model_copy(update={"nics": nics})}).addresses
    assert str(found["vlan301"].ip) == "10.3.1.254"
    assert str(found["vlan301 (eth1)"].ip) == "10.3.2.254"


def test_a_guest_whose_addresses_nobody_knows_is_cut_over_without_a_measured_outage(here: Home) -> None:
    seen = observed(here, "one", plan(here, {}))
    seen.ping()
    seen.record_outage()
    assert seen.pinging()
    assert seen.outage_recorded()
    assert "knows no address" in seen.pinging().found
    assert {c.unseen for c in (seen.pinging(), seen.outage_recorded(), *seen.proofs())} == {"not measured"}
    assert seen.outage() is None
    assert not (here.folder("gateway") / "outages").exists()


def test_the_outage_on_record_is_of_the_measurement_that_saw_the_cut_over_though_its_run_was_killed(here: Home) -> None:
    InService(guest="gateway", moid="vm-1", since=SINCE.isoformat(), nics=()).save(here.folder("gateway"))
    measurement(here, "much-earlier", SINCE - timedelta(days=1), "....")
    measurement(here, "killed", SINCE - timedelta(seconds=5), "..xxxx....", whole=False)
    (here.folder("gateway") / "outages" / "killed-at-once.jsonl").touch()
    seen = observed(here, "again", plan(here, OURS))
    measurement(here, "again", SINCE + timedelta(minutes=5), "........")
    assert not seen.outage_recorded()
    seen.record_outage()
    on_record = Outages.load(here.folder("gateway"))
    assert (on_record.file, on_record.since) == ("killed.jsonl", SINCE.isoformat())
    assert [o.lost for o in on_record.segments[0].outages] == [4]
    assert not on_record.complete  # and it says so
    assert seen.outage_recorded()


def test_a_cell_that_is_run_again_measures_into_a_file_of_its_own(here: Home) -> None:
    measurement(here, "one", SINCE, "....")
    assert observed(here, "one", plan(here, OURS)).file.name == "one-2.jsonl"


def test_a_segment_in_which_the_watching_machine_has_no_address_is_not_measured(here: Home) -> None:
    seen = observed(here, "one", plan(here, {**OURS, "eth1": "198.51.100.254/24"}))
    ours, other = seen.legs()
    assert (bool(ours), ours.unseen) == (True, "")
    assert (bool(other), other.unseen) == (True, "not measured")
    assert "would come in by another NIC of the guest" in other.found
    assert seen._meter is not None
    assert dict(seen._meter.targets) == {"vlan301": "127.0.0.5"}, "it is left out"
    assert [c.title for c in seen.checks()[-2:]] == [ours.title, other.title], "before anything goes off"
    assert {c.found for c in seen.proofs()} == {"not yet"}


def test_a_machine_that_can_watch_no_segment_at_all_is_red_before_anything_goes_off(here: Home) -> None:
    seen = observed(here, "one", plan(here, {"eth0": "198.51.100.254/24", "eth1": "203.0.113.254/24"}))
    assert [bool(leg) for leg in seen.legs()] == [False, False]
    assert "an address in every segment" in seen.legs()[0].remedy
    assert seen.pinging().unseen == "not measured"
    assert {c.found for c in seen.proofs()} == {"no segment can be watched"}


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ("10.3.1.254 dev vlan301 src 10.3.1.7 uid 0", True),
        ("10.3.1.254 via 10.9.9.1 dev eth0 src 10.9.9.2 uid 0", False),
        ("10.3.1.254 dev eth0 src 10.9.9.2 uid 0", False),
        ("RTNETLINK answers: Network is unreachable", False),
        ("", False),
    ],
)
def test_what_ip_says_of_the_way_tells_whether_a_segment_is_watched(told: str, own: bool) -> None:
    found = metering._leg(host.HERE, "vlan301", IPv4Interface("10.3.1.254/24"), told)
    assert found, "it stops nothing by itself"
    assert (found.unseen == "") is own
