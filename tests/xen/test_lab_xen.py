"""The lab's Xen itself: it comes up once, it is found after a kill, and it ends with all that it made."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hikkoshi_lab.xen import machine, recipe
from processes import wait_for
from realxen import RealXen

pytestmark = pytest.mark.needs("qemu-system-x86_64", "qemu-img", "ssh", "mmdebstrap", "root")


def test_it_is_up_once_and_its_guests_are_what_they_were_made_as(xen: RealXen) -> None:
    said: list[str] = []
    machine.up(xen.folder, said.append)
    assert said == [f"Xen: up already: ssh -F {xen.folder}/ssh_config dom0"]
    (check,) = machine.status(xen.folder)
    assert check, check.found
    assert xen.dom0("xl info | grep -c 'xen_version.*4[.]'") == "1\n"
    for guest in recipe.GUESTS:
        nics = xen.itself(guest.name)["nics"]
        assert nics == {f"eth{n}": (nic.mac, str(nic.address)) for n, nic in enumerate(guest.nics)}
        assert xen.guest(guest.name, "cat /etc/marker").startswith("this is the one and only")


def test_one_whose_start_was_killed_is_found_and_ended(xen: RealXen, tmp_path: Path) -> None:
    assert machine.find(xen.folder)  # so that what is kept is there
    code = f"from pathlib import Path; from hikkoshi_lab.xen import machine; machine.up(Path({str(tmp_path / 'other')!r}), print)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_for(lambda: machine.find(tmp_path / "other"), "its QEMU runs")
        process.send_signal(signal.SIGKILL)
    server = machine.find(tmp_path / "other")
    assert server is not None
    assert server.alive
    assert not machine.status(tmp_path / "other")[0]
    machine.down(tmp_path / "other")
    assert not server.alive
    assert list(tmp_path.iterdir()) == []
    assert machine.find(xen.folder)
