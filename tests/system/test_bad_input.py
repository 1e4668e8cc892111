"""What a user can get wrong: each is refused with four parts and its exit code, and nothing is changed.

Some go through the command, as a user meets them; most through the runbook's cells in this process, which takes a tenth.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hikkoshi import files
from hikkoshi.errors import HikkoshiError
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.run.run import Run
from hikkoshi.vsphere import session
from hikkoshi_lab import image, vcsim
from hikkoshi_lab import site as lab_site
from processes import PATIENCE, hikkoshi

pytestmark = pytest.mark.needs("qemu-img", "vcsim", "qemu-system-x86_64")
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose vCenter is up, with what its parameters name."""
    home = Home(tmp_path_factory.mktemp("vcenter"))
    shutil.copytree(PROJECT / "params", home.root / "params")
    own, path = home.outputs / "lab", home.root / "params" / "site.yml"
    files.write(own / vcsim.HINTS, json.dumps(lab_site.hints(home.site())))
    with vcsim.start(own, "-network-hints", str(own / vcsim.HINTS)) as server:
        path.write_text(path.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{server.port}"))
        with session.connect(home, home.site().vsphere) as v:
            lab_site.shape(v, home.site(), own / vcsim.TEMPORARY, lambda words: None)
        yield home


@pytest.fixture
def site(vcenter: Home, tmp_path: Path) -> Home:
    """A home of its own for that vCenter, with a Dom-0 and surveys of both guests that a test may spoil."""
    home = Home(tmp_path)
    shutil.copytree(vcenter.root / "params", tmp_path / "params")
    path = tmp_path / "params" / "site.yml"
    path.write_text(
        path.read_text().replace("outputs/lab/", f"{vcenter.outputs}/lab/").replace(f"{vcenter.outputs}/lab/dom0", "dom0")
    )
    (tmp_path / "dom0/etc/xen").mkdir(parents=True)
    (tmp_path / "dom0/var/lib/xen/images").mkdir(parents=True)
    for guest in (replace(image.IDP, layout="disk"), image.GATEWAY):
        (tmp_path / "dom0/etc/xen" / guest.name).write_text(image.xm_config(guest))
        (tmp_path / f"dom0/var/lib/xen/images/{guest.name}.img").write_bytes(b"a disk" * 512)
        home.folder(guest.name).mkdir(parents=True)
        shutil.copy(PROJECT / "tests/data/survey" / f"{guest.name}.json", home.folder(guest.name) / "survey.json")
    return home


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def everything(home: Home) -> dict[str, bytes]:
    """{path: content} of all that must not change; journals, locks, identity, executed notebooks and records are meant to."""
    return {
        str(p.relative_to(home.root)): p.read_bytes()
        for p in home.root.rglob("*")
        if p.is_file()
        and not {"runs", "records"} & set(p.parts)
        and p.name not in ("journal.jsonl", "lock", "runner.lock", "turn.lock", "seal.lock", "identity")
    }


def refused(home: Home, code: int, words: list[str], *argv: str) -> str:
    before = everything(home)
    result = hikkoshi(home, *argv)
    told = result.stdout + result.stderr
    assert result.returncode == code, told
    assert "Traceback" not in told
    told_in_full(told, words)
    assert everything(home) == before
    return told


def refuses(home: Home, code: int, words: list[str], name: str, guest: str) -> str:
    """The same of a runbook's cells, one after the other, without a kernel."""
    before = everything(home)
    cells = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    names: dict[str, object] = {"__name__": "__main__"}
    with pytest.raises(HikkoshiError) as stopped:
        for cell in (c for c in cells if c["cell_type"] == "code"):
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names.update(guest=guest, home=str(home.root))
    if isinstance(run := names.get("run"), Run):
        run.close("failed")  # or its lock stays open in this process
    assert stopped.value.exit_code == code
    told_in_full(str(stopped.value), words)
    assert everything(home) == before
    return str(stopped.value)


def told_in_full(told: str, words: list[str]) -> None:
    for word in [*words, "what to do:"]:
        assert word in told, told


def disk(home: Home) -> Path:
    return home.root / "dom0/var/lib/xen/images/idp.img"


def config(home: Home) -> Path:
    return home.root / "dom0/etc/xen/idp"


def qcow2(home: Home) -> None:
    """What a guest's root can do to its own disk: a header that names a file of the host as backing file."""
    secret = home.root / "secret"
    secret.write_text("host secret")
    evil = home.root / "evil.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(evil), "1M"],
        check=True,
        stdout=subprocess.PIPE,
    )
    disk(home).write_bytes(evil.read_bytes().ljust(1 << 20, b"\0"))


SURVEY: list[tuple[str, Callable[[Home], object], int, list[str]]] = [
    ("a missing image", lambda h: disk(h).unlink(), 2, ["idp.img"]),
    ("an empty image", lambda h: disk(h).write_bytes(b""), 2, ["idp.img", "empty"]),
    ("a raw image that carries a qcow2 header", qcow2, 2, ["idp.img", "qcow2"]),
    ("an xm file with code in it", lambda h: edit(config(h), "memory", "memory = size()\nmemory"), 2, ["etc/xen/idp:", "size()"]),
    ("a missing configuration", lambda h: config(h).unlink(), 2, ["etc/xen/idp"]),
    (
        "a misspelt key",
        lambda h: edit(h.root / "params/guests/idp.yml", "config:", "confg:"),
        2,
        ["idp.yml:5", "did you mean config?"],
    ),
]


@pytest.mark.parametrize(("what", "spoil", "code", "words"), SURVEY, ids=[s[0] for s in SURVEY])
def test_the_survey_refuses(site: Home, what: str, spoil: Callable[[Home], object], code: int, words: list[str]) -> None:
    spoil(site)
    refuses(site, code, words, "10-survey", "idp")


def test_the_command_ends_with_what_the_survey_refuses(site: Home) -> None:
    disk(site).unlink()
    refused(site, 2, ["idp.img"], "run", "idp", "--through", "10")


def resurvey(home: Home, guest: str, **xen: object) -> None:
    known = Survey.load(home.folder(guest))
    known.model_copy(update={"xen": known.xen.model_copy(update=xen)}).save(home.folder(guest))


def two_alike(home: Home) -> None:
    vifs = Survey.load(home.folder("gateway")).xen.vifs
    resurvey(home, "gateway", vifs=(*vifs[:9], vifs[0]))


def eleven(home: Home) -> None:
    vifs = Survey.load(home.folder("gateway")).xen.vifs
    mac = "00:16:3e:05:00:0a"
    resurvey(home, "gateway", vifs=(*vifs, vifs[0].model_copy(update={"mac": mac})))
    edit(home.root / "params/guests/gateway.yml", "nics:\n", f'nics:\n  - {{ mac: "{mac}", segment: servers }}\n')


def other_certificate(home: Home) -> None:
    made = home.root / "other.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=other",
            "-days",
            "2",
            "-keyout",
            str(home.root / "other.key"),
            "-out",
            str(made),
        ],
        check=True,
        capture_output=True,
    )
    path = home.root / "params/site.yml"
    path.write_text("".join(f"  ca: {made}\n" if li.startswith("  ca:") else li for li in path.read_text().splitlines(True)))


def wrong_password(home: Home) -> None:
    wrong = home.root / "password"
    wrong.write_text("not-the-password\n")
    wrong.chmod(0o600)
    path = home.root / "params/site.yml"
    path.write_text(
        "".join(f"  password: file:{wrong}\n" if li.startswith("  password:") else li for li in path.read_text().splitlines(True))
    )


PLAN: list[tuple[str, str, Callable[[Home], object], int, list[str]]] = [
    (
        "an unmapped NIC",
        "gateway",
        lambda h: edit(h.root / "params/guests/gateway.yml", '  - { mac: "00:16:3e:05:00:03", segment: vlan304 }\n', ""),
        3,
        ["eth3 (00:16:3e:05:00:03)"],
    ),
    (
        "a port group whose VLAN differs from the plan",
        "gateway",
        lambda h: edit(h.root / "params/site.yml", "vlan: 303,", "vlan: 333,"),
        3,
        ["eth2", "dv-vlan303", "333"],
    ),
    (
        "a port group that is not there",
        "idp",
        lambda h: edit(h.root / "params/site.yml", "servers-210", "servers-211"),
        3,
        ["eth0", "servers-211"],
    ),
    ("duplicate MACs", "gateway", two_alike, 3, ["00:16:3e:05:00:00", "no MAC occurs twice"]),
    ("641 MB", "gateway", lambda h: resurvey(h, "gateway", memory_mb=641), 3, ["641", "multiple of 4"]),
    ("11 NICs", "gateway", eleven, 3, ["11 NICs", "at most 10"]),
    (
        "an address outside its segment",
        "idp",
        lambda h: edit(h.root / "params/site.yml", "subnet: 10.2.10.0/24", "subnet: 10.2.11.0/24"),
        3,
        ["10.2.10.20/24", "10.2.11.0/24"],
    ),
    ("a wrong password", "idp", wrong_password, 2, ["password"]),
    ("an unknown certificate", "idp", other_certificate, 2, ["certificate"]),
    (
        "a vCenter that is not there",
        "idp",
        lambda h: edit(h.root / "params/site.yml", "server: 127.0.0.1:", "server: 127.0.0.1:1 #"),
        1,
        ["127.0.0.1:1"],
    ),
]


@pytest.mark.parametrize(("what", "guest", "spoil", "code", "words"), PLAN, ids=[p[0] for p in PLAN])
def test_the_plan_refuses(
    site: Home, what: str, guest: str, spoil: Callable[[Home], object], code: int, words: list[str]
) -> None:
    spoil(site)
    told = refuses(site, code, words, "20-plan", guest)
    assert "not-the-password" not in told


def test_all_problems_of_a_plan_are_told_at_once(site: Home) -> None:
    two_alike(site)
    resurvey(site, "gateway", memory_mb=641)
    edit(site.root / "params/site.yml", "vlan: 303,", "vlan: 333,")
    refused(site, 3, ["641", "no MAC occurs twice", "333"], "run", "gateway", "--only", "20")


def test_an_unknown_guest_and_an_unknown_step_are_told_with_the_nearest_name(site: Home) -> None:
    refused(site, 2, ["did you mean gateway?"], "run", "gatway")
    refused(site, 2, ["40-convert"], "run", "gateway", "--from", "44")


def test_a_misspelt_notebook_parameter_stops_plain_papermill_too(site: Home, tmp_path: Path) -> None:
    notebook = Path(__file__).parents[2] / "notebooks" / "40-convert.ipynb"
    before = everything(site)
    result = subprocess.run(
        [sys.executable, "-m", "papermill", notebook, tmp_path / "out.ipynb", "-p", "gest", "gateway", "--no-progress-bar"],
        env={**os.environ, "HIKKOSHI_HOME": str(site.root)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    (tmp_path / "out.ipynb").unlink()
    assert result.returncode != 0
    assert "did you mean guest?" in result.stderr
    assert everything(site) == before
