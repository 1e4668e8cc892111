"""The wiring witness on the lab's gateway: ten real NICs, real tcpdump and arping, in its namespace and over a real ssh."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, StepFailed, ToolFailed
from hikkoshi.network import host, nics
from hikkoshi.network.host import Host
from hikkoshi.network.outage import probing
from hikkoshi.network.wiring import frames, listening, wiring, witness
from hikkoshi.network.wiring.capture import Growing
from hikkoshi.params.site import Segment
from hikkoshi.ssh import Login
from hikkoshi_lab import network
from processes import wait_for

pytestmark = pytest.mark.needs("root", "ip", "nft", "ethtool", "netperf", "unshare", "nsenter", "tcpdump", "arping")
DATA = Path(__file__).parents[1] / "data" / "wiring"
PLANNED = network.NICS
SEGMENTS = {
    name: Segment(
        vlan=int(name[4:]),
        port_group=f"dv-{name}",
        subnet=IPv4Network(f"{subnet}.0/24"),
        answers=IPv4Address(f"{subnet}.{network.HOST}"),
    )
    for name, subnet in network.SEGMENTS.items()
}
OK = dict.fromkeys(PLANNED, "ok")
QUIET = "\n".join(f"ip address flush dev {nic}; ip link set {nic} arp off" for nic in PLANNED)
SEND = """if True:
    import socket, sys, time
    ports = {port: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for port in sys.argv[1::2]}
    for port, frame in zip(sys.argv[1::2], sys.argv[2::2]):
        ports[port].bind((port, 0))
    while True:
        for port, frame in zip(sys.argv[1::2], sys.argv[2::2]):
            ports[port].send(bytes.fromhex(frame))
        time.sleep(0.5)"""


@pytest.fixture
def lab() -> Iterator[network.Network]:
    with network.up() as here:
        yield here


@pytest.fixture
def chatter(lab: network.Network) -> network.Network:
    """On every segment its ordinary host broadcasts."""
    lab.chatter(1)
    return lab


def verdicts(found: wiring.Witness) -> dict[str, str]:
    return {n.name: n.verdict for n in found.nics}


def unplanned(found: wiring.Witness) -> dict[str, str]:
    return {n.name: n.verdict for n in found.nics if n.verdict != "ok"}


def path_of(here: Host, folder: Path, lacking: str = "") -> Host:
    """The same host, with what it needs in one folder, where programs can be put or left out."""
    folder.mkdir()
    for name in ("sh", "ls", "cat", "sed", "sleep", "mktemp", "wc", "tail", "head", "rm", "env", "tcpdump", "arping"):
        if name != lacking:
            (folder / name).symlink_to(next(p / name for p in map(Path, ("/usr/bin", "/usr/sbin")) if (p / name).exists()))
    return replace(here, prefix=(*here.prefix, "env", f"PATH={folder}"))


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def processes(word: str) -> list[str]:
    """Command lines of running processes that have this word."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and int(process.name) != os.getpid():
            found.append(line)
    return found


def gone(left: Callable[[], object]) -> bool:
    wait_for(lambda: not left(), "nothing is left")
    return True


def sent(on: Host, nic: str) -> int:
    return nics.sent(on, [nic])[nic]


class TestListening:
    def test_ten_nics_are_all_proved(self, chatter: network.Network) -> None:
        found = witness.watch(chatter.host("gw"), PLANNED, SEGMENTS)
        assert verdicts(found) == OK
        assert all(c for c in found.checks())

    def test_two_swapped_of_ten_are_found_within_20_seconds_and_no_packet_is_sent(self, lab: network.Network) -> None:
        gw = lab.host("gw")
        lab.chatter()  # a frame every five seconds
        lab.swap("eth3", "eth7")
        gw.script(QUIET)
        before = nics.sent(gw, list(PLANNED))
        start = time.monotonic()
        found = witness.watch(gw, PLANNED, SEGMENTS)
        took = time.monotonic() - start
        assert unplanned(found) == {"eth3": "wrong", "eth7": "wrong"}
        assert found.swaps == [("eth3", "eth7")]
        assert took < 20
        print(f"passive: swap found in {took:.1f} s, every NIC known after {max(n.after or 0 for n in found.nics):.1f} s")
        assert nics.sent(gw, list(PLANNED)) == before
        assert [n.sent for n in found.nics] == [0] * 10

    def test_what_the_host_sends_itself_is_counted_and_told_and_proves_nothing(self, chatter: network.Network) -> None:
        gw = chatter.host("gw")
        chatter.swap("eth3", "eth7")
        chatter.daemon("gw", ["sh", "-c", "while :; do arping -q -c 1 -w 1 -I eth3 10.3.4.9 & sleep 0.1; done"])
        before = sent(gw, "eth3")
        wait_for(lambda: sent(gw, "eth3") > before, "it asks")
        found = witness.watch(gw, PLANNED, SEGMENTS)
        assert unplanned(found) == {"eth3": "wrong", "eth7": "wrong"}
        assert found.nics[3].sent > 0
        assert int(found.rows()[3]["sent meanwhile"]) == found.nics[3].sent

    def test_a_silent_segment_is_never_ok(self, chatter: network.Network) -> None:
        chatter.cut("vlan304")
        found = witness.watch(chatter.host("gw"), PLANNED, SEGMENTS, seconds=8)
        assert unplanned(found) == {"eth3": "silent"}
        assert not found.ok
        assert found.nics[3].link == "no carrier"

    def test_a_segment_on_which_nobody_speaks_is_silent_too(self, lab: network.Network) -> None:
        lab.host("gw").script("ip link set eth9 down")
        found = witness.watch(lab.host("gw"), {"eth8": "vlan504", "eth9": "vlan505"}, SEGMENTS, seconds=3)
        assert verdicts(found) == {"eth8": "silent", "eth9": "silent"}
        assert [n.link for n in found.nics] == ["up", "down"]

    def test_a_nic_that_hears_two_segments_is_told_as_a_contradiction(
        self, chatter: network.Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "LEAST", 8)  # seconds; two hosts have to speak, and each is given the time
        chatter.host("sw").script(
            "ip link add j1 type veth peer name j2; ip link set j1 master bvlan304 up; ip link set j2 master bvlan305 up"
        )
        found = witness.watch(chatter.host("gw"), PLANNED, SEGMENTS)
        assert unplanned(found) == {"eth3": "conflicting", "eth4": "conflicting"}

    def test_frames_of_every_kind_come_through(self, lab: network.Network) -> None:
        recorded = {
            "lldp-vlan304": ("LLDP", "ok"),
            "cdp-vlan304": ("CDP", "ok"),
            "pvst-vlan304": ("PVST+", "ok"),
            "dhcp-by-a-relay-10.3.4.77-10.3.4.254": ("DHCP", "ok"),
            "multicast-10.3.4.10": ("multicast", "ok"),
            "broadcast-10.3.4.10": ("broadcast", "ok"),
            "ra-2001_db8_34__": ("RA", "unknown"),
            "tagged-arp-vlan304": ("802.1Q", "wrong"),
        }
        words = []
        for n, name in enumerate(recorded):
            words += [f"gw{n}", Growing(name).feed((DATA / f"{name}.pcap").read_bytes())[0].data.hex()]
        lab.daemon("sw", [sys.executable, "-c", SEND, *words])
        found = witness.watch(lab.host("gw"), {f"eth{n}": "vlan304" for n in range(len(recorded))}, SEGMENTS, seconds=8)
        told = [(*(s.kind for s in nic.seen), nic.verdict) for nic in found.nics]
        assert told == list(recorded.values())

    @pytest.mark.parametrize(("to", "frames"), [("10.3.4.255", listening.FRAMES), ("10.3.4.254", None)])
    def test_a_storm_is_cut_off_and_the_guests_own_traffic_is_not_looked_at(
        self, chatter: network.Network, to: str, frames: int | None
    ) -> None:
        storm = (
            "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(1, 6, 1)\n"
            f"while True: [s.sendto(bytes(400), ('{to}', 12865)) for _ in range(10)]; time.sleep(0.002)"
        )
        speaker = chatter.host("vlan304")
        before = sent(speaker, "eth0")
        chatter.daemon("vlan304", [sys.executable, "-c", storm])
        wait_for(lambda: sent(speaker, "eth0") > before + 100, "the storm is there")
        found = witness.watch(chatter.host("gw"), {"eth3": "vlan304"}, SEGMENTS, seconds=5)
        assert verdicts(found) == {"eth3": "ok"}
        assert found.nics[0].frames == frames or (frames is None and found.nics[0].frames < listening.FRAMES / 4)

    def test_no_nic_is_made_promiscuous(self, lab: network.Network) -> None:
        seen = []
        witness.watch(
            lab.host("gw"),
            {"eth3": "vlan304"},
            SEGMENTS,
            seconds=2,
            progress=lambda *_: seen.append(lab.host("gw").run(["ip", "-d", "link", "show", "eth3"]).stdout),
        )
        assert "promiscuity 0" in seen[0]

    def test_another_shell_will_do(self, chatter: network.Network, tmp_path: Path) -> None:
        gw = path_of(chatter.host("gw"), tmp_path / "bin", "sh")
        (tmp_path / "bin" / "sh").symlink_to("/usr/bin/bash")  # Debian's own is dash, that of EL is bash
        assert verdicts(witness.watch(gw, PLANNED, SEGMENTS)) == OK
        assert verdicts(witness.probe(gw, PLANNED, SEGMENTS)) == OK


class TestAsking:
    def test_two_swapped_of_ten_are_found_within_a_second(self, lab: network.Network) -> None:
        gw = lab.host("gw")
        lab.swap("eth3", "eth7")
        gw.script("\n".join(f"ip address flush dev {nic}" for nic in PLANNED))
        took = []
        for _ in range(10):  # the best of them: other programs run on this machine
            start = time.monotonic()
            found = witness.probe(gw, PLANNED, SEGMENTS)
            took.append(time.monotonic() - start)
            assert unplanned(found) == {"eth3": "wrong", "eth7": "wrong"}
            assert found.swaps == [("eth3", "eth7")]
            if took[-1] < 1:
                break
        print("active: swap found in " + ", ".join(f"{t:.2f}" for t in took) + " s")
        assert min(took) < 1

    def test_not_too_many_questions_are_asked_at_a_time(self, lab: network.Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probing, "PARALLEL", 7)
        lab.swap("eth8", "eth9")
        found = witness.probe(lab.host("gw"), {"eth8": "vlan504", "eth9": "vlan505"}, SEGMENTS)
        assert found.swaps == [("eth8", "eth9")]
        assert found.seconds > 1

    def test_a_silent_segment_is_never_ok(self, lab: network.Network) -> None:
        lab.cut("vlan304")
        found = witness.probe(lab.host("gw"), PLANNED, SEGMENTS)
        assert unplanned(found) == {"eth3": "silent"}

    def test_it_changes_nobodys_cache(self, lab: network.Network) -> None:
        lab.host("gw").script("\n".join(f"ip address flush dev {nic}" for nic in PLANNED))
        peer = lab.host("vlan304")
        peer.script("ip neigh flush all")
        assert verdicts(witness.probe(lab.host("gw"), PLANNED, SEGMENTS)) == OK
        assert peer.run(["ip", "neigh"]).stdout == ""

    def test_a_machine_that_answers_for_all_is_told_as_a_contradiction(self, lab: network.Network) -> None:
        # Linux answers on any of its NICs for the addresses of all, so a machine on two segments is no witness
        told = {
            name: s.model_copy(update={"answers": IPv4Address(f"{network.SEGMENTS[name]}.{network.ADMIN}")})
            for name, s in SEGMENTS.items()
        }
        assert set(verdicts(witness.probe(lab.host("gw"), PLANNED, told)).values()) == {"conflicting"}

    def test_listening_and_asking_add_up(self, lab: network.Network) -> None:
        gw = lab.host("gw")
        heard = witness.watch(gw, {"eth3": "vlan304"}, SEGMENTS, seconds=3)
        assert verdicts(heard) == {"eth3": "silent"}
        both = wiring.together(heard, witness.probe(gw, {"eth3": "vlan304"}, SEGMENTS))
        assert verdicts(both) == {"eth3": "ok"}

    def test_a_segment_without_an_address_that_answers_cannot_be_asked_for(self, lab: network.Network) -> None:
        told = {**SEGMENTS, "vlan304": SEGMENTS["vlan304"].model_copy(update={"answers": None})}
        with pytest.raises(BadInput, match="vlan304"):
            witness.probe(lab.host("gw"), PLANNED, told)


class TestFingerprint:
    def test_the_old_gateways_fingerprint_finds_the_new_ones_swap(self, lab: network.Network) -> None:
        gw = lab.host("gw")
        lab.chatter(0.3)
        told: set[str] = set()
        old = witness.fingerprint(gw, list(PLANNED), seconds=4, progress=lambda done, total, text: told.add(text))
        assert told == {f"who speaks on {len(PLANNED)} NICs"}
        assert verdicts(old.compare(witness.fingerprint(gw, list(PLANNED), seconds=4))) == OK
        lab.swap("eth3", "eth7")
        found = old.compare(witness.fingerprint(gw, list(PLANNED), seconds=4))
        assert unplanned(found) == {"eth3": "wrong", "eth7": "wrong"}
        assert found.swaps == [("eth3", "eth7")]


class TestRefusals:
    @pytest.mark.parametrize("program", ["tcpdump", "arping"])
    def test_a_missing_program_is_named_with_its_host(self, lab: network.Network, tmp_path: Path, program: str) -> None:
        gw = path_of(lab.host("gw"), tmp_path / "bin", program)
        act = witness.watch if program == "tcpdump" else witness.probe
        with pytest.raises(ToolFailed, match=f"no {program}") as e:
            act(gw, PLANNED, SEGMENTS)
        assert e.value.problems[0].where == "lab:gw"

    def test_a_nic_that_there_is_not_is_told_with_those_there_are(self, lab: network.Network) -> None:
        with pytest.raises(BadInput, match="did you mean eth") as e:
            witness.watch(lab.host("gw"), {"eth33": "vlan304", "eth34": "vlan305"}, SEGMENTS)
        assert len(e.value.problems) == 2

    @pytest.mark.parametrize("act", [witness.watch, witness.probe])
    def test_a_program_that_fails_is_quoted_for_every_nic(
        self, lab: network.Network, tmp_path: Path, act: Callable[..., wiring.Witness]
    ) -> None:
        gw = path_of(lab.host("gw"), tmp_path / "bin")
        put(tmp_path / "bin", "tcpdump", "echo not today >&2; exit 1")
        put(tmp_path / "bin", "arping", 'test "$1" = -V && echo iputils && exit; echo not today; exit 2')
        with pytest.raises(ToolFailed, match="not today") as e:
            act(gw, PLANNED, SEGMENTS)
        assert len(e.value.problems) == 10

    def test_another_arping_is_refused(self, lab: network.Network, tmp_path: Path) -> None:
        gw = path_of(lab.host("gw"), tmp_path / "bin")
        put(tmp_path / "bin", "arping", "echo ARPing 2.23, by Thomas Habets")
        with pytest.raises(ToolFailed, match="Thomas Habets"):
            witness.probe(gw, PLANNED, SEGMENTS)

    def test_a_host_that_falls_silent_is_given_up(
        self, lab: network.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gw = at(path_of(lab.host("gw"), tmp_path / "bin"), tmp_path / "t")
        put(tmp_path / "bin", "sleep", "exec /usr/bin/sleep 600")
        monkeypatch.setattr(listening, "STALLED", 1.5)
        with pytest.raises(StepFailed, match="fell silent"):
            witness.watch(gw, PLANNED, SEGMENTS)
        assert gone(lambda: list((tmp_path / "t").iterdir()))

    def test_a_script_that_is_ended_there_is_told(self, lab: network.Network, tmp_path: Path) -> None:
        gw = at(path_of(lab.host("gw"), tmp_path / "bin"), tmp_path / "t")
        put(tmp_path / "bin", "sleep", "kill $PPID")
        with pytest.raises(ToolFailed, match="after 0 s, status 1"):
            witness.watch(gw, PLANNED, SEGMENTS)
        assert list((tmp_path / "t").iterdir()) == []

    def test_a_host_that_cannot_be_reached_is_told_with_sshs_words(self) -> None:
        nowhere = host.by_ssh(Login("127.0.0.1", ("-F", "none", "-p", "1")))
        for act in (witness.watch, witness.probe):
            with pytest.raises(ToolFailed, match="port 1: Connection refused"):
                act(nowhere, PLANNED, SEGMENTS)


def at(here: Host, folder: Path) -> Host:
    """The same host, whose temporary files are kept apart."""
    folder.mkdir()
    return replace(here, prefix=(*here.prefix, "env", f"TMPDIR={folder}"))


class TestNothingIsLeft:
    def test_after_it_has_ended_early(self, chatter: network.Network, tmp_path: Path) -> None:
        gw = at(chatter.host("gw"), tmp_path / "t")
        seen = []
        witness.watch(gw, PLANNED, SEGMENTS, progress=lambda *_: seen.append(list((tmp_path / "t").iterdir())))
        assert len(seen[0]) == 1  # it was there
        assert list((tmp_path / "t").iterdir()) == []
        assert processes(str(tmp_path)) == []

    def test_after_it_has_run_to_its_end(self, lab: network.Network, tmp_path: Path) -> None:
        witness.watch(at(lab.host("gw"), tmp_path / "t"), PLANNED, SEGMENTS, seconds=2)
        assert list((tmp_path / "t").iterdir()) == []

    def test_after_an_error_in_the_middle(self, lab: network.Network, tmp_path: Path) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            witness.watch(at(lab.host("gw"), tmp_path / "t"), PLANNED, SEGMENTS, progress=interrupt)
        assert list((tmp_path / "t").iterdir()) == []

    def test_after_a_signal_that_comes_while_it_clears_away(self, lab: network.Network, tmp_path: Path) -> None:
        gw = at(path_of(lab.host("gw"), tmp_path / "bin"), tmp_path / "t")
        put(tmp_path / "bin", "rm", 'kill -TERM 0; exec /usr/bin/rm "$@"')  # to all that the caller has started there
        witness.watch(gw, PLANNED, SEGMENTS, seconds=2)
        assert gone(lambda: list((tmp_path / "t").iterdir()))

    def test_after_the_caller_is_killed(self, lab: network.Network, tmp_path: Path) -> None:
        gw = at(lab.host("gw"), tmp_path / "t")
        killed_in_the_middle(f"Host('gw', {gw.prefix!r})", tmp_path)


def killed_in_the_middle(expression: str, tmp_path: Path) -> None:
    """Have another process listen on the host of this expression, kill it, and see its traces vanish."""
    program = (
        "from hikkoshi import ssh; from hikkoshi.network import host\n"
        "from hikkoshi.network.wiring import witness; from hikkoshi.network.host import Host\n"
        f"witness.fingerprint({expression}, {list(PLANNED)!r}, seconds=60, progress=lambda *words: print(words, flush=True))"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    with caller:
        assert caller.stdout
        caller.stdout.readline()
        (folder,) = (tmp_path / "t").iterdir()
        assert len(list(folder.glob("*.pcap"))) == 10
        running = [int((folder / f"{nic}.pid").read_text()) for nic in PLANNED]
        assert all(Path(f"/proc/{pid}").exists() for pid in running)
        caller.send_signal(signal.SIGKILL)
    assert gone(lambda: list((tmp_path / "t").iterdir()))
    assert gone(lambda: [pid for pid in running if Path(f"/proc/{pid}").exists()])


@pytest.mark.needs("ssh", "sshd", "ssh-keygen")
class TestOverSsh:
    @pytest.fixture
    def gw(self, chatter: network.Network, tmp_path: Path) -> Iterator[Host]:
        """The lab's gateway as a machine of its own, whose sshd ssh starts itself."""
        folder = tmp_path / "ssh"
        folder.mkdir()
        (tmp_path / "t").mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
            f"SetEnv TMPDIR={tmp_path}/t PATH=/usr/bin:/bin\n"
        )
        (folder / "known_hosts").write_text("gateway " + (folder / "host.pub").read_text())
        sshd = shlex.join(chatter.host("gw").argv(["/usr/sbin/sshd", "-i", "-f", str(folder / "sshd_config")]))
        options = {
            "ProxyCommand": f"{sshd} 2>{folder}/log",
            "UserKnownHostsFile": f"{folder}/known_hosts",
            "IdentityFile": f"{folder}/user",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
        }
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it; it stays, for whoever else tests beside us
        yield host.by_ssh(Login("gateway", ("-F", "none", *(word for k, x in options.items() for word in ("-o", f"{k}={x}")))))
        assert gone(lambda: processes(str(folder)))
        assert gone(lambda: list((tmp_path / "t").iterdir()))

    def test_two_swapped_of_ten_are_found_by_listening(self, chatter: network.Network, gw: Host) -> None:
        chatter.swap("eth3", "eth7")
        gw.script(QUIET)
        start = time.monotonic()
        found = witness.watch(gw, PLANNED, SEGMENTS)
        took = time.monotonic() - start
        assert unplanned(found) == {"eth3": "wrong", "eth7": "wrong"}
        assert [n.sent for n in found.nics] == [0] * 10
        assert took < 20
        print(f"passive over ssh: {took:.1f} s")

    def test_and_by_asking(self, chatter: network.Network, gw: Host) -> None:
        chatter.swap("eth3", "eth7")
        start = time.monotonic()
        found = witness.probe(gw, PLANNED, SEGMENTS)
        print(f"active over ssh: {time.monotonic() - start:.2f} s")
        assert found.swaps == [("eth3", "eth7")]

    def test_nothing_is_left_after_the_caller_is_killed(self, gw: Host, tmp_path: Path) -> None:
        killed_in_the_middle(f"host.by_ssh(ssh.{gw.login!r})", tmp_path)


def test_tcpdump_itself_reads_the_same_vlans_in_the_recorded_frames() -> None:
    """It is an independent reader; it does not print the TLV of PVST+."""
    words = {
        "LLDP": r"\(PVID\): (\d+)",
        "CDP": r"Native VLAN ID \(0x0a\), value length: 2 bytes: (\d+)",
        "802.1Q": r"vlan (\d+), p",
    }
    checked = 0
    for path in sorted(DATA.glob("*-vlan304.pcap")):
        (frame,) = Growing(path.name).feed(path.read_bytes())
        (found,) = frames.evidence(frame.data)
        if found.kind in words:
            said = subprocess.run(["tcpdump", "-r", path, "-n", "-e", "-vv"], capture_output=True, text=True, check=True).stdout
            told = re.search(words[found.kind], said, re.S)
            assert told, said
            assert int(told[1]) == found.vlan
            checked += 1
    assert checked == 4
