"""What one run of the cut-over observes: whom it pings, and which measurement is the cut-over's."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hikkoshi import plan as planning
from hikkoshi.network.outage import Outages
from hikkoshi.observation import Observation, targets
from hikkoshi.params import Home
from hikkoshi.plan import Plan
from hikkoshi.survey import Survey
from hikkoshi.vsphere.cutover import CutOver

DATA = Path(__file__).parents[1] / "data"
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
    return Observation(home, home.site(), home.guest("gateway"), made, run)


def measurement(home: Home, run: str, started: datetime, letters: str, *, whole: bool = True) -> None:
    """A meter's file of one segment, as hikkoshi.network.meter writes it."""
    head = {"meter": 1, "started": started.isoformat(), "monotonic": 1.0, "rate": 20, "late_ms": 250, "socket": "raw",
            "targets": {"vlan301": "10.3.1.254"}}  # fmt: skip
    lines = [head, {"t": [50 * n for n in range(len(letters))], "f": [letters]}]
    if whole:
        lines.append({"end": "stopped", "t": 50 * len(letters), "cpu": 0.01})
    file = home.folder("gateway") / "outages" / f"{run}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_segment_is_pinged_at_the_guests_own_address(home: Home) -> None:
    found = targets(plan(home))
    assert len(found) == 10
    assert found["vlan301"] == "10.3.1.254"


def test_two_nics_on_one_segment_are_two_targets(home: Home) -> None:
    made = plan(home)
    nics = (made.vm.nics[0], made.vm.nics[1].model_copy(update={"segment": "vlan301"}), *made.vm.nics[2:])
    found = targets(made.model_copy(update={"vm": made.vm.model_copy(update={"nics": nics})}))
    assert found["vlan301"] == "10.3.1.254"
    assert found["vlan301 (eth1)"] == "10.3.2.254"


def test_a_guest_whose_addresses_nobody_knows_is_cut_over_without_a_measured_outage(here: Home) -> None:
    seen = observed(here, "one", plan(here, {}))
    seen.measure()
    seen.record()
    assert seen.measuring()
    assert seen.recorded()
    assert "knows no address" in seen.measuring().found
    assert {c.unseen for c in (seen.measuring(), seen.recorded(), *seen.proved())} == {"not measured"}
    assert seen.outage() is None
    assert not (here.folder("gateway") / "outages").exists()


def test_the_outage_on_record_is_of_the_measurement_that_saw_the_cut_over_though_its_run_was_killed(here: Home) -> None:
    CutOver(guest="gateway", moid="vm-1", since=SINCE.isoformat(), nics=()).save(here.folder("gateway"))
    measurement(here, "much-earlier", SINCE - timedelta(days=1), "....")
    measurement(here, "killed", SINCE - timedelta(seconds=5), "..xxxx....", whole=False)
    (here.folder("gateway") / "outages" / "killed-at-once.jsonl").touch()
    seen = observed(here, "again", plan(here))
    measurement(here, "again", SINCE + timedelta(minutes=5), "........")
    assert not seen.recorded()
    seen.record()
    on_record = Outages.load(here.folder("gateway"))
    assert (on_record.file, on_record.since) == ("killed.jsonl", SINCE.isoformat())
    assert [o.lost for o in on_record.segments[0].outages] == [4]
    assert not on_record.complete  # and it says so
    assert seen.recorded()


def test_a_cell_that_is_run_again_measures_into_a_file_of_its_own(here: Home) -> None:
    measurement(here, "one", SINCE, "....")
    assert observed(here, "one", plan(here)).file.name == "one-2.jsonl"
