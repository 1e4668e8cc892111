"""The outage meter on the lab's network and on loopback: real pings, cut cables, killed programs."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from hikkoshi.errors import BadInput, ToolFailed
from hikkoshi.network.host import Host
from hikkoshi.network.outage import meter, metering, outage
from hikkoshi_lab import network
from processes import PATIENCE, wait_for

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "setpriv", "nft", "ethtool", "tc")

LONGER = ("vlan304", "vlan503")  # segments that come back last
TARGETS = {segment: f"{subnet}.{network.GATEWAY}" for segment, subnet in network.SEGMENTS.items()}
LOOPBACK = {f"lo{n}": f"127.0.0.{n}" for n in range(1, 11)}


@pytest.fixture(scope="module")
def lab():
    with network.up() as there:
        yield there


def began(file):
    """The monotonic clock at which a file's times begin."""
    return json.loads(file.read_text().splitlines()[0])["monotonic"]


def timed(host, script):
    """(middle, half the length) of the time in which a script ran."""
    start = time.monotonic()
    host.script(script)
    end = time.monotonic()
    return (start + end) / 2, (end - start) / 2


def cables(lab, segments, state):
    ports = [network.PORTS[nic] for nic, segment in network.NICS.items() if segment in segments]
    return timed(lab.host("sw"), "".join(f"ip link set {port} {state}\n" for port in ports))


def longest(file):
    """The longest time between two probes: a twentieth of a second, or more where the machine let the meter wait."""
    at = [ms / 1000 for line in file.read_text().splitlines()[1:-1] for ms in json.loads(line)["t"]]
    return max(b - a for a, b in itertools.pairwise(at))


def near(found, truth, file):
    """Whether a time is within an interval of the truth, which is itself known to plus or minus a few milliseconds."""
    middle, uncertain = truth
    return abs(found - middle) <= longest(file) + uncertain


def with_no_long_break(tmp_path, measure):
    """The file of a measurement in which the meter never stood still for a second, and what `measure` gave: the first of ten."""
    for n in range(10):
        file = tmp_path / f"{n}.jsonl"
        told = measure(file)
        if all(b.seconds < 1 for b in outage.read(file).breaks):  # a longer one can hide an outage
            return file, told
    raise AssertionError("the meter stood still for long each time: this machine is too busy for it")


def unanswered_arp(lab, segments):
    """Let the gateway no longer answer ARP on these segments, and have admin forget its MAC: pings wait in a queue."""
    nics = [nic for nic, segment in network.NICS.items() if segment in segments]
    lab.host("gw").script("".join(f"sysctl -qw net.ipv4.conf.{nic}.arp_ignore=8\n" for nic in nics))
    return timed(lab.host("admin"), "".join(f"ip neigh del {TARGETS[network.NICS[nic]]} dev {nic}\n" for nic in nics))


def answered_arp(lab, segments):
    """The opposite; the queue is let go at once."""
    nics = [nic for nic, segment in network.NICS.items() if segment in segments]
    lab.host("gw").script("".join(f"sysctl -qw net.ipv4.conf.{nic}.arp_ignore=0\n" for nic in nics))
    macs = {nic: lab.host("gw").run(["cat", f"/sys/class/net/{nic}/address"]).stdout.strip() for nic in nics}
    return timed(
        lab.host("admin"),
        "".join(f"ip neigh replace {TARGETS[network.NICS[nic]]} lladdr {macs[nic]} dev {nic} nud reachable\n" for nic in nics),
    )


def test_both_ends_of_every_outage_are_within_a_twentieth_of_a_second_of_the_truth(lab, tmp_path):
    def measure(file):
        with metering.measuring(TARGETS, file, lab.host("admin")):
            time.sleep(0.5)
            down = cables(lab, TARGETS, "down")
            time.sleep(2)
            most = cables(lab, set(TARGETS) - set(LONGER), "up")
            time.sleep(3)
            longer = cables(lab, LONGER, "up")
            time.sleep(0.5)
        return down, most, longer

    file, (down, most, longer) = with_no_long_break(tmp_path, measure)
    found, zero = outage.read(file), began(file)
    assert [s.name for s in found.segments] == list(TARGETS)
    for segment in found.segments:
        (o,) = segment.outages
        up = longer if segment.name in LONGER else most
        assert near(zero + o.after, down, file)
        assert near(zero + o.after + o.seconds, up, file)
        assert o.least - up[1] - down[1] <= up[0] - down[0] <= o.most + up[1] + down[1]
    assert all(found.checks())


def test_answers_that_waited_behind_arp_do_not_shorten_the_outage(lab, tmp_path):
    def measure(file):
        with metering.measuring({"vlan305": TARGETS["vlan305"]}, file, lab.host("admin")):
            down = unanswered_arp(lab, ["vlan305"])
            time.sleep(2)
            up = answered_arp(lab, ["vlan305"])
            time.sleep(0.5)
        return down, up

    file, (down, up) = with_no_long_break(tmp_path, measure)
    (segment,) = outage.read(file).segments
    (o,) = segment.outages
    assert near(began(file) + o.after, down, file)
    assert near(began(file) + o.after + o.seconds, up, file)
    assert segment.at_the_end == "answers"


def test_probes_that_wait_behind_arp_do_not_take_the_others_place(lab, tmp_path):
    file, silent = tmp_path / "outage.jsonl", set(TARGETS) - {"vlan301"}
    with metering.measuring(TARGETS, file, lab.host("admin")):
        unanswered_arp(lab, silent)
        time.sleep(4)
        answered_arp(lab, silent)
    found = outage.read(file)
    assert [bool(s.outages) for s in found.segments] == [False] + [True] * 9
    assert meter.UNSENT not in "".join("".join(json.loads(x)["f"]) for x in file.read_text().splitlines()[1:-1])


def test_ten_segments_cost_at_most_a_twentieth_of_a_processor(lab, tmp_path):
    file = tmp_path / "outage.jsonl"
    with metering.measuring(TARGETS, file, lab.host("admin")):
        time.sleep(20)
    found = outage.read(file)
    assert found.seconds > 19.5
    turns = found.segments[0].answered  # fewer where the machine let it wait
    assert [(s.answered, s.lost) for s in found.segments] == [(turns, 0)] * 10
    assert turns > 19.5 * meter.RATE / 2
    assert found.cpu * found.seconds <= 0.05 * turns / meter.RATE


def test_a_segment_without_a_route_is_lost_and_nothing_else_is(lab, tmp_path):
    file = tmp_path / "outage.jsonl"
    targets = {"nowhere": "192.0.2.1", "vlan301": TARGETS["vlan301"]}
    running = metering.Meter(targets, file, lab.host("admin"))
    running.start()
    assert running.running().found == "1 of 2 segments answer, silent: nowhere (192.0.2.1)"
    nowhere, there = running.stop().segments
    assert nowhere.at_the_end == "never answered"
    assert nowhere.lost
    assert there.at_the_end == "answers"


def without_privileges(groups):
    """This machine for a user without any capability, in a network of its own where these groups may open ping sockets."""
    permit = f"PATH=$PATH:/usr/sbin:/sbin; ip link set lo up; echo '{groups}' >/proc/sys/net/ipv4/ping_group_range; "
    return Host("nobody", ("unshare", "--net", "sh", "-c", permit + 'exec setpriv --bounding-set -all "$@"', "sh"))


def test_a_user_whom_the_kernel_permits_it_measures_without_privileges(tmp_path):
    with metering.measuring(LOOPBACK, tmp_path / "f", without_privileges("0 65534")):
        time.sleep(0.5)
    assert json.loads((tmp_path / "f").read_text().splitlines()[0])["socket"] == "ping"
    assert all(s.answered and not s.lost for s in outage.read(tmp_path / "f").segments)


def test_a_user_who_may_not_send_pings_is_told_what_would_permit_it(tmp_path):
    with pytest.raises(ToolFailed, match="does not measure") as caught:
        metering.Meter(LOOPBACK, tmp_path / "f", without_privileges("1 0")).start()
    said = caught.value.problems[0].found
    for part in ("this user may not send pings", "this machine", "Operation not permitted", "CAP_NET_RAW", "sysctl"):
        assert part in said


def test_root_is_permitted_to_measure():
    assert metering.permitted()


def started(file, *argv):
    return subprocess.run(
        [sys.executable, "-m", meter.__name__, str(file), *argv], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.mark.parametrize(("name", "reason"), [("nowhere/f", "No such file"), ("there", "File exists")])
def test_a_file_that_cannot_be_written_is_told(tmp_path, name, reason):
    (tmp_path / "there").write_text("measured before")
    told = started(tmp_path / name, "1", "lo=127.0.0.1")
    assert told.returncode == 1
    assert "the outage meter cannot write its file" in told.stderr
    assert reason in told.stderr
    assert (tmp_path / "there").read_text() == "measured before"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="no place for the measurement"):
        metering.Meter(LOOPBACK, tmp_path / "file" / "f").start()


def test_bad_arguments_are_bad_input_for_the_program_too(tmp_path):
    told = started(tmp_path / "f", "1", "lo=127.0.0.1", "v6=::1")
    assert told.returncode == BadInput.exit_code
    assert "no IPv4 address" in told.stderr
    assert not (tmp_path / "f").exists()


def test_a_meter_that_nobody_stops_ends_by_itself(tmp_path):
    assert started(tmp_path / "f", "0.5", "lo=127.0.0.1").returncode == 0
    assert outage.read(tmp_path / "f").complete
    end = json.loads((tmp_path / "f").read_text().splitlines()[-1])
    assert end["end"] == "time"
    assert end["t"] >= 500


def test_a_meter_that_stood_still_says_so_and_finds_no_outage_in_it(tmp_path):
    running = metering.Meter(LOOPBACK, tmp_path / "f")
    running.start()
    for _ in range(5):  # with luck it was stopped before it had read its answers
        os.kill(running._process.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(running._process.pid, signal.SIGCONT)
        goes_on = time.monotonic() - began(running.file)
        wait_for(lambda at=goes_on: running.so_far().seconds > at, "it has sent a probe")
    found = running.stop()
    assert len(found.breaks) >= 5  # each, and what else made it wait
    assert not any(s.lost for s in found.segments)


class HeldBack(socket.socket):
    """A socket whose program stands still just before each thing that it sends."""

    def sendto(self, *arguments):
        time.sleep(1.2 * meter.LATE)
        return super().sendto(*arguments)


def test_a_meter_that_stood_still_between_the_clock_and_its_probe_finds_no_outage_in_it():
    on, kind = meter.link()
    with HeldBack(fileno=on.detach()) as held_back:
        probes = meter.Probes(held_back, kind, ["127.0.0.1"])
        probes.send()
        time.sleep(1.2 * meter.LATE)
        now = time.monotonic()
        probes.receive(now)
    [(_, letters)] = probes.decided(now)
    assert chr(letters[0]) in meter.ANSWERED


def test_what_a_killed_meter_measured_can_be_read_until_a_second_before(tmp_path):
    running = metering.Meter(LOOPBACK, tmp_path / "f")
    running.start()
    behind = []
    for _ in range(40):  # whenever it is killed
        behind.append(time.monotonic() - began(running.file) - running.so_far().seconds)
        time.sleep(0.05)
    last = time.monotonic() - began(running.file)
    wait_for(lambda: running.so_far().seconds > last, "it is known how long each probe waited for the next one")
    os.kill(running._process.pid, signal.SIGKILL)
    found = running.stop()
    assert max(behind) <= (meter.LINE + 1) * longest(running.file) + meter.LATE  # most of a second
    assert not found.complete
    assert not found.checks()[0]
    assert found.until in found.checks()[0].found
    assert all(s.answered for s in found.segments)


RUNBOOK = """
from pathlib import Path
from hikkoshi.network.outage import metering
meter = metering.Meter({{"lo": "127.0.0.1"}}, Path({file!r}))
meter.start()
print(meter._process.pid, flush=True)
"""


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def test_a_meter_dies_with_the_program_that_started_it(tmp_path):
    text = RUNBOOK.format(file=str(tmp_path / "f")) + "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_for(lambda: not alive(pid), "it dies")
    assert not outage.read(tmp_path / "f").complete


def test_a_meter_goes_on_between_the_cells_of_a_notebook_and_dies_with_its_kernel(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        printed = []
        run = {"output_hook": lambda m: printed.append(m["content"].get("text", "")), "timeout": PATIENCE}
        client.execute_interactive(RUNBOOK.format(file=str(tmp_path / "f")), **run)
        pid = int("".join(printed))
        time.sleep(1)  # nothing is executed: the kernel waits for the next cell
        client.execute_interactive("print(bool(meter.running()))", **run)
        assert "".join(printed).split() == [str(pid), "True"]
        manager.interrupt_kernel()  # Ctrl-C in a notebook is not for the meter
        time.sleep(0.5)
        assert alive(pid)
        manager.shutdown_kernel(now=True)
        wait_for(lambda: not alive(pid), "it dies")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
