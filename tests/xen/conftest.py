"""One real Xen for all of these tests, and a folder of one's own that `hikkoshi init` made by looking at it."""

import re
import shutil
from collections.abc import Iterator

import pytest

import realxen
from hikkoshi.params.home import Home
from processes import hikkoshi
from realxen import RealXen


@pytest.fixture(scope="session")
def xen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealXen]:
    """A Dom-0 with router and files, which run and start with it."""
    with realxen.up(tmp_path_factory.mktemp("xen")) as there:
        yield there


@pytest.fixture(scope="session")
def mine(xen: RealXen, lab_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The folder for a move from there to the lab's vSphere, with what only a person knows filled in: the VLAN of the untagged
    NICs, by the switch, and who may approve."""
    made, own, keys = Home(tmp_path_factory.mktemp("own") / "mine"), lab_home.outputs / "lab", lab_home.outputs / "keys"
    options = [
        *("--dom0", "xenhost=ssh:dom0", "--vcenter", lab_home.site().vsphere.server, "--user", "administrator"),
        *("--password-from", f"file:{own / 'vcenter.password'}", "--ca", str(own / "ca.pem"), "--key", str(keys / "operator")),
    ]
    done = hikkoshi(made, "init", str(made.root), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("router", "files"):
        path = made.guest_file(name)
        text = path.read_text()
        untagged = re.search(r"^  # (- \{ mac: .*), segment: .*\}$", text, re.MULTILINE)
        assert untagged, text
        path.write_text(text.replace(untagged[0], f"  {untagged[1]}, segment: vlan210 }}"))
    text = made.site_file.read_text()  # router forwards, and the lab's vSphere runs nothing that could be measured
    made.site_file.write_text(
        text.replace("\nvsphere:\n", "\nvsphere:\n  lowered: { forwarder-in-reach: nothing runs there }\n", 1)
    )
    shutil.copy(keys / "allowed_signers", made.root / "params/allowed_signers")
    shutil.copytree(keys, made.outputs / "keys")
    return made
