"""The network, from the wiring to the cure: the lab's gateway as a guest, real netperf, and the runbooks that a person uses."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyVmomi import VmomiSupport, vim

import processes
import vcenter
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import BadInput, StepFailed
from hikkoshi.network.outage.observation import Observation
from hikkoshi.network.outage.outage import Outages
from hikkoshi.network.remedy import remedy
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.prescription import Prescription as Remedy
from hikkoshi.network.remedy.prescription import Switch
from hikkoshi.network.remedy.treatment import Treatment
from hikkoshi.network.throughput.bench import Bench
from hikkoshi.network.throughput.measured import Throughput
from hikkoshi.network.wiring.wiring import Wiring
from hikkoshi.params.home import Home
from hikkoshi.params.site import Segment
from hikkoshi.run import lock
from hikkoshi.steps.netperf import Netperf
from hikkoshi.vsphere import cutover, inventory, lro
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.inventory import EsxiHost
from hikkoshi.vsphere.session import Session
from hikkoshi_lab import keys, network, proof
from hikkoshi_lab import lab as whole_lab
from journey import permitted
from processes import start, wait_for

pytestmark = pytest.mark.needs("root", "ip", "nft", "ethtool", "netperf", "tcpdump", "arping", "vcsim")
SINCE = "2026-11-22T00:00:00+00:00"
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def wired(home: Home) -> Iterator[tuple[Home, network.Network]]:
    """A home whose gateway is the lab's network, which the shipped parameters name; nothing else of the lab is there."""
    own = whole_lab.folder(home)
    own.mkdir(parents=True)
    parameters = home.root / "params" / "guests" / "gateway.yml"  # other segments are measured where all of a guest is moved
    parameters.write_text(re.sub(r"(?m)^  segments:.*\n(    .*\n)*", "", parameters.read_text()))
    try:
        yield home, network.keep(own)
    finally:
        network.remove(own)


def set_options(v: Session, host: EsxiHost, values: dict[str, int]) -> None:
    manager = v.read(host.thing, "configManager.advancedOption")["configManager.advancedOption"]
    long = VmomiSupport.vmodlTypes["long"]
    manager.UpdateOptions([vim.option.OptionValue(key=k, value=long(n)) for k, n in values.items()])


def hikkoshi(home: Home, *argv: str) -> tuple[int, str]:
    done = processes.hikkoshi(home, *argv, seconds=900)
    return done.returncode, done.stdout + done.stderr


def test_a_gateway_collapses_its_cause_is_named_and_its_recovery_is_proved(tmp_path: Path) -> None:
    with network.up() as lab:
        rows = list(proof.rows(Home(tmp_path), lab))
    for what, asked, seen, _ in rows:
        print(what, asked, seen, sep=" · ")
    timed = ("named within", "proved within")  # on a machine that does nothing else
    assert [what for what, _, _, holds in rows if not holds and what not in timed] == []
    assert len(rows) == 8


def cured(home: Home) -> Cure:
    """What 85 has done; where the noise of a busy machine left a series open, it measures once more, twice at most."""
    for _ in range(3):
        code, told = hikkoshi(home, "run", "gateway", "--apply", "--only", "85")
        found = Cure.load(home.folder("gateway"))
        if found.after is None or found.after.series.verdict != "inconclusive":
            break
        Bench(home, home.guest("gateway"), "quieter", found.since).forget()
        found.model_copy(update={"after": None}).save(home.folder("gateway"))
    assert code == 0, told
    return found


def test_the_runbooks_find_a_collapse_fail_on_it_cure_it_record_how_and_take_it_back(
    wired: tuple[Home, network.Network], approve: Callable[[Home, str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, _ = wired
    with vcenter.start(home, vcenter.disk(tmp_path_factory.mktemp("disk"))) as world:
        vcenter.serve(world)
        keys.make(home)
        code, told = hikkoshi(home, "lab", "fault", "lro")
        assert (code, "merges" in told) == (0, True)
        code, told = hikkoshi(home, "run", "gateway", "--apply", "--only", "80")
        assert code == 1
        assert "85-offloads names the cause" in told
        approve(home, "gateway")
        folder = home.folder("gateway")
        found = cured(home)
        assert found.diagnosis.cause == "LRO"
        assert found.before is not None
        assert found.after is not None
        assert (found.before.series.verdict, found.after.series.verdict) == ("regressed", "recovered")
        assert Throughput.load(folder).measured["since the move"].series == found.after.series
        assert [f.on for f in remedy.Applied.load(folder).flags] == [True]
        outputs = folder / "netperf" / found.after.folder
        assert len(list(outputs.glob("through-the-guest-[0-9]*.txt"))) >= 5
        assert "THROUGHPUT=" in (outputs / "direct-01.txt").read_text()
        the_hosts_options_are_shown_set_and_put_back_by_the_same_approval(home, world)
        # and taken back: the gateway merges again, and nothing on record says otherwise
        treatment = Treatment(home, home.guest("gateway"), "one", found.since)
        assert treatment.remedied()
        code, told = hikkoshi(home, "undo-remedy", "gateway")
        assert (code, "would" in told, bool(treatment.remedied())) == (0, True, True), told
        assert "no remedy is in place" in told.partition("\nlater ")[2], told
        cutover.roll_back(world.connect(), world.order)
        cutover.strike(folder)
        code, told = hikkoshi(home, "undo-remedy", "gateway", "--apply")
        assert (code, "no cut-over is on record" in told, bool(treatment.remedied())) == (3, True, True), told
        cutover.start(
            world.connect(), world.site.vsphere, world.order, world.permission, source=lambda: vcenter.OFF, folder=folder
        )
        code, told = hikkoshi(home, "undo-remedy", "gateway", "--apply")
        assert (code, "undo the remedy" in told, "sealed: " in told) == (0, True, True), told
        assert not treatment.remedied()
        assert remedy.Applied.find(folder) is None
        assert len(list((folder / "netperf").glob("*-remedy-undone.json"))) == 1
        code, told = hikkoshi(home, "verify")
        assert code == 0, told


def the_hosts_options_are_shown_set_and_put_back_by_the_same_approval(home: Home, world: vcenter.World) -> None:
    """The last resort, which this guest does not need."""
    folder = home.folder("gateway")
    with world.connect() as v:
        place = inventory.place(v, world.site.vsphere)
        (host,) = (h for h in place.hosts if "gateway" in lro.machines(v, h))
        on = dict.fromkeys(lro.OFF, 1)
        set_options(v, host, on)
        code, told = hikkoshi(home, "host-offloads", "gateway")
        assert (code, host.name in told, "gateway" in told) == (0, True, True), told
        code, told = hikkoshi(home, "host-offloads", "gateway", "--apply")
        assert (code, "nobody has confirmed" in told, lro.read(v, host)) == (3, True, on), told
        code, told = hikkoshi(home, "host-offloads", "gateway", "--apply", "--host", host.name)
        assert (code, "sealed: " in told, lro.read(v, host)) == (0, True, dict(lro.OFF)), told
        assert lro.HostOptions.load(folder).hosts == {host.name: on}
        code, told = hikkoshi(home, "host-offloads", "gateway", "--apply", "--host", host.name, "--undo")
        assert (code, lro.read(v, host), lro.HostOptions.find(folder)) == (0, on, None), told


def test_a_series_that_was_killed_goes_on_where_it_was(wired: tuple[Home, network.Network]) -> None:
    home, _ = wired
    with start(home, "run", "gateway", "--apply", "--only", "80", stderr=subprocess.STDOUT) as run:
        wait_for(lambda: made(home) >= 3, "three runs are kept")
        run.kill()
    # the kernel dies with the one that started it
    wait_for(lambda: not lock.held(home.folder("gateway").lock), "nobody is at work on the guest")
    before = Throughput.load(home.folder("gateway")).measured["before the move"].series
    code, told = hikkoshi(home, "run", "gateway", "--apply", "--only", "80")
    assert code == 0, told
    after = Throughput.load(home.folder("gateway")).measured["before the move"].series
    assert after.runs[: len(before.runs)] == before.runs
    assert after.seed == before.seed


def made(home: Home) -> int:
    """Runs in netperf.json."""
    known = Throughput.find(home.folder("gateway"))
    return len(known.measured["before the move"].series.runs) if known and known.measured else 0


def test_swapped_cables_are_named_from_inside_the_guest_and_are_no_green_run(wired: tuple[Home, network.Network]) -> None:
    home, lab = wired
    seen = observation(home, "one")
    assert all(seen.checks())
    lab.swap("eth3", "eth7")
    seen.look_at_wiring()
    found = seen.wiring()
    assert found is not None
    assert found.swaps == [("eth3", "eth7")]
    assert sorted(c.title for c in seen.proofs() if not c) == ["eth3 is seen on vlan304", "eth7 is seen on vlan503"]
    assert seen.wiring_seen()  # that it was looked at is one thing, what was seen is another
    assert not observation(home, "another run").wiring_seen()  # what an earlier run saw is no proof for this one
    lab.restore()
    made, site = plan(home), home.site()
    untold = {n: Segment(vlan=s.vlan, port_group=s.port_group) for n, s in site.segments.items()}  # as `hikkoshi init` has them
    bare = site.model_copy(update={"segments": untold})
    again = Observation(home, bare, home.guest("gateway"), "two", segments=made.segments, addresses=made.addresses)
    again.look_at_wiring()
    assert all(again.proofs())
    assert Wiring.load(home.folder("gateway")).run == "two"


def test_the_outage_of_a_cut_segment_is_on_record_with_the_others_in_service(wired: tuple[Home, network.Network]) -> None:
    home, lab = wired
    seen = observation(home, "one")
    assert {(bool(leg), leg.unseen) for leg in seen.legs()} == {(True, "")}, "the administrator has a leg in every segment"
    assert not seen.pinging()
    seen.ping()
    assert seen.pinging()
    lab.cut("vlan304")
    start = time.monotonic()
    wait_for(lambda: "silent: vlan304" in seen.pinging().found, "it is seen to be out")
    lasted = time.monotonic() - start
    lab.mend("vlan304")
    seen.record_outage()
    assert seen.outage_recorded()
    found = seen.outage()
    assert found is not None
    out = {s.name: s.outages for s in found.segments}
    (cut,) = out.pop("vlan304")
    assert cut.least > 0
    assert cut.most
    assert cut.most > lasted
    assert set(out.values()) == {()}
    # a later run, which finds the machine serving, leaves the cut-over's outage on record
    InService(guest="gateway", moid="vm-1", since=SINCE, nics=()).save(home.folder("gateway"))
    Outages.load(home.folder("gateway")).model_copy(update={"since": SINCE}).save(home.folder("gateway"))
    again = observation(home, "two")
    assert again.pinging()  # nothing to measure: it is on record, and every segment was back
    assert again.outage_recorded()
    again.ping()
    again.record_outage()
    assert Outages.load(home.folder("gateway")).file == found.file
    assert sum(len(s.outages) for s in (again.outage() or found).segments) == 0


def test_a_segment_that_is_silent_from_the_start_is_red_where_the_source_was_off_before(
    wired: tuple[Home, network.Network],
) -> None:
    home, lab = wired
    lab.cut("vlan304")
    serving = observation(home, "one")
    serving.ping()
    serving.record_outage()
    assert all(serving.proofs())  # it was silent while the others answered, under Xen: not the cut-over's doing
    for segment in network.SEGMENTS:
        lab.cut(segment)
    before = observation(home, "two")
    before.ping()
    for segment in network.SEGMENTS:
        if segment != "vlan304":
            lab.mend(segment)
    wait_for(lambda: "9 of 10 segments answer" in before.pinging().found, "all others answer")
    before.record_outage(limit=1)
    assert [c.title for c in before.proofs() if not c] == ["vlan304 answers"]


def test_a_guest_whose_shell_does_not_come_is_told_with_what_to_look_at(home: Home) -> None:
    parameters = home.root / "params" / "guests" / "gateway.yml"
    text = re.sub(r"shell: netns:\S+", "shell: ssh://root@127.0.0.1:9", parameters.read_text())
    parameters.write_text(re.sub(r"watch: netns:\S+", "watch: here", text))
    with pytest.raises(StepFailed, match="guest's console"):
        observation(home, "one").look_at_wiring(limit=3)


def test_where_the_parameters_have_no_measurement_every_check_says_so_and_nothing_is_written(home: Home) -> None:
    idp = home.guest("idp")
    seen = Observation(home, home.site(), idp, "one", segments={}, addresses={})
    netperf, treatment = Netperf(Netperf.open({"guest": "idp", "home": str(home.root)})), Treatment(home, idp, "one")
    there = set(home.folder("idp").iterdir())
    seen.ping()
    seen.look_at_wiring()
    seen.record_outage()
    checks = [
        *(*seen.checks(), seen.pinging(), seen.wiring_seen(), seen.outage_recorded()),
        *(*netperf.checks(), netperf.segments_measured(), netperf.round_trips_measured(), *netperf.proofs()),
        *(
            *treatment.checks(),
            treatment.diagnosed(),
            treatment.remedied(),
            treatment.measured_again(),
            *treatment.proofs(),
            treatment.in_effect(),
        ),
    ]
    assert all(checks)
    assert {(c.found, c.unseen) for c in checks} == {("params/guests/idp.yml has no measurement", "not measured")}
    assert set(home.folder("idp").iterdir()) == there, "of the run itself"


def test_a_shell_that_is_not_there_is_a_red_check_before_anything_goes_off(home: Home) -> None:
    with pytest.raises(BadInput, match="no such network namespace"):
        observation(home, "one")


def test_one_run_of_netperf_is_told_with_its_unit_and_one_that_the_link_cannot_carry_is_refused(
    wired: tuple[Home, network.Network],
) -> None:
    home, _ = wired
    raw = home.root / "raw.txt"
    client = f"netns:{home.outputs}/lab/netns/pc1"
    code, told = hikkoshi(home, "netperf", "run", client, network.SERVER, "--seconds", "1", "--raw", str(raw), "--json")
    assert code == 0
    assert json.loads(told)["throughput"]["unit"] == "10^6bits/s"
    code, parsed = hikkoshi(home, "netperf", "parse", str(raw), "--json")
    assert json.loads(parsed)[str(raw)]["throughput"] == json.loads(told)["throughput"]
    code, told = hikkoshi(home, "netperf", "run", client, network.SERVER, "--seconds", "1", "--link", "10")
    assert (code, "at most 9.41 Mbit/s" in told) == (1, True)


def test_a_gateway_in_order_gets_no_name_for_a_cause_and_nothing_to_change(wired: tuple[Home, network.Network]) -> None:
    home, _ = wired
    at = f"netns:{home.outputs}/lab/netns"
    code, told = hikkoshi(home, "diagnose", f"{at}/gw", "--client", f"{at}/pc1", "--server", network.SERVER, "--json")
    assert code == 0
    assert json.loads(told)["cause"] == "unknown"


def test_half_a_load_is_a_usage_error(home: Home) -> None:
    code, told = hikkoshi(home, "diagnose", "here", "--client", "here")
    assert (code, "both --client and --server" in " ".join(told.split())) == (2, True)


def test_a_fault_that_the_lab_does_not_have_is_refused(wired: tuple[Home, network.Network]) -> None:
    code, told = hikkoshi(wired[0], "lab", "fault", "lrp")
    assert (code, "did you mean lro?" in told) == (2, True)


def observation(home: Home, run: str) -> Observation:
    """The lab's gateway by the shipped parameters, with the plan that its survey gives."""
    made = plan(home)
    return Observation(home, home.site(), home.guest("gateway"), run, segments=made.segments, addresses=made.addresses)


def plan(home: Home) -> Plan:
    from hikkoshi.approval import plan as planning
    from hikkoshi.guest.survey import Survey

    survey = Survey.model_validate_json((DATA / "survey" / "gateway.json").read_text())
    return planning.make(home, home.guest("gateway"), home.site(), survey)


def test_the_proof_ends_with_1_where_a_claim_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proof, "rows", lambda home, lab: iter([("the moon", "cheese", "stone", False)]))
    assert proof.main() == 1
    assert "FAILS   the moon" in capsys.readouterr().out


def test_what_there_was_before_a_remedy_is_kept_before_anything_is_changed(wired: tuple[Home, network.Network]) -> None:
    gw = wired[1].host("gw")
    gw.run(["ethtool", "-K", "eth6", "gro", "on"])
    flags: list[tuple[bool, bool]] = []  # (as kept, as it is)

    def keep(done: remedy.Applied) -> None:
        now = "generic-receive-offload: on" in gw.run(["ethtool", "-k", "eth6"]).stdout
        flags.append((done.flags[0].on, now))

    plan = Remedy(switches=(Switch(nic="eth6", feature="gro"),), ethtool="ethtool")
    remedy.apply(gw, plan, permitted(step="85-offloads"), keep=keep)
    assert flags == [(True, True)]
    assert "generic-receive-offload: off" in gw.run(["ethtool", "-k", "eth6"]).stdout
