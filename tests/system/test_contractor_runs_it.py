"""A whole move where a contractor runs the vSphere: handed over, waited for, its wiring named, and taken back by telephone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi.approval import plan as planning
from hikkoshi.disk import conversion, digest, source
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.guest.prepared import Prepared
from hikkoshi.guest.survey import Survey
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.outcome import Ending, SeenNic
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.run.journal import Journal
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.handover import HandOver
from hikkoshi_lab import keys, network
from hikkoshi_lab import lab as whole_lab
from journey import outcome
from processes import hikkoshi, on_a_terminal, start, wait_for

pytestmark = pytest.mark.needs("root", "ip", "nft", "tcpdump", "arping", "qemu-img")
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def theirs(home: Home) -> Iterator[tuple[Home, network.Network]]:
    """The paper's gateway, rehearsed, on a site whose vSphere a contractor runs; the lab's network plays the new machine."""
    text = home.site_file.read_text()
    line = 'vsphere: { handover: true, contractor: "Kita, 0166-00-0000" }\n\n'
    home.site_file.write_text(text[: text.index("vsphere:")] + line + text[text.index("dom0s:") :])
    own, folder = whole_lab.folder(home), home.folder("gateway")
    survey = Survey.model_validate_json((DATA / "survey" / "gateway.json").read_bytes())
    disk, config = own / "dom0/srv/gateway.img", own / "dom0/etc/xen/gateway"
    for path in (disk, config, folder.prepared_copy):
        path.parent.mkdir(parents=True, exist_ok=True)
    disk.write_bytes(bytes(range(256)) * 8192 + bytes(2 << 20))
    vifs = ", ".join(f"'mac={v.mac},bridge={v.bridge}'" for v in survey.xen.vifs)
    config.write_text(f"name = 'gateway'\nmemory = 640\ndisk = ['file:/srv/gateway.img,xvda,w']\nvif = [{vifs}]\n")
    about = {"disk": source.facts(disk), "bytes": disk.stat().st_size}
    survey = survey.model_copy(update=about | {"origin": Origin.whole(disk), "digest": digest.content(disk)})
    survey.save(folder)
    plan = planning.make(home, home.guest("gateway"), home.site(), survey)
    plan.save(folder)
    folder.prepared_copy.write_bytes(disk.read_bytes())
    made = conversion.start(folder)
    Prepared(
        preparation=plan.preparation.hash,
        source=Identity.of(plan.source),
        source_digest=plan.source_digest,
        disk=Identity.of(Origin.whole(folder.prepared_copy)),
        facts=survey.guest,
        kept={},
        initrd_modules_before=(),
        initrd_modules_after=(),
        accelerator="tcg",
        seconds=1,
    ).save(folder)
    driver = "vmxnet3"
    nics = [
        SeenNic(name=n.name, mac=n.mac, driver=driver, addresses=(n.address,) if n.address else ()) for n in plan.machine.nics
    ]
    seen = outcome("after", Ending.LOGIN, "gateway login:", *nics)
    for path in (seen.picture, seen.screen, seen.console):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("seen")
    Rehearsal(vmdk_sha256=made.vmdk_sha256, plan_hash=plan.hash, before=None, after=seen).save(folder)
    keys.make(home)
    lab = network.keep(own)
    lab.host("gw").script("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done")  # as CentOS has it
    try:
        yield home, lab
    finally:
        network.remove(own)


def rows(home: Home, step: str) -> dict[str, tuple[str, float]]:
    """{action: (how it ended, seconds)} of the last run of a step."""
    lines = [e for e in Journal(home.folder("gateway").journal).entries() if e.step == step]
    last = lines[-1].run
    return {e.title: (str(e.state), float(e.seconds or 0)) for e in lines if e.run == last and e.event == "step"}


def test_a_machine_is_handed_over_waited_for_and_taken_back_by_telephone(theirs: tuple[Home, network.Network]) -> None:
    home, lab = theirs
    folder = home.folder("gateway")
    done = hikkoshi(home, "run", "gateway", "--only", "60", "--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    made = HandOver.load(folder)
    assert {"gateway.ova", "sheet.html"} <= {p.name for p in Path(made.folder).iterdir()}
    done = hikkoshi(home, "approve", "gateway", "--key", str(keys.folder(home) / "approver"), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.descriptor_sha256 in done.stdout

    for segment in network.SEGMENTS:  # the contractor's machine is off
        lab.cut(segment)
    with start(home, "run", "gateway", "--only", "70", "--apply", stderr=subprocess.STDOUT) as cutting:
        try:
            wait_for(lambda: '"event":"permitted"' in folder.journal.read_text(), "the contractor may be called")
            assert not folder.cutover.exists()
            lab.swap("eth3", "eth7")  # and two port groups are exchanged
            for segment in network.SEGMENTS:
                lab.mend(segment)
            told, _ = cutting.communicate(timeout=300)
        except BaseException:
            cutting.kill()
            raise
    assert cutting.returncode == 1, told
    assert "call Kita, 0166-00-0000" in told
    assert all(f"{nic} is seen on" in told for nic in ("eth3", "eth7")), told
    assert InService.load(folder).known_by.endswith(" answers")
    took = rows(home, "70-cutover")
    assert took["look at the wiring from inside the guest"][1] < 40, "20 s of listening, and a probe of what was silent"
    assert took["record the outage of every segment"][1] < 60, "a NIC that is known to be wrong is not waited for"

    lab.restore()
    done = hikkoshi(home, "run", "gateway", "--only", "70", "--apply")
    assert done.returncode == 0, done.stdout + done.stderr

    done = hikkoshi(home, "run", "gateway", "--only", "75", "--apply")
    words = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 3, words
    assert "1. Call Kita, 0166-00-0000. Ask them to take off both ticks" in words
    code, told = on_a_terminal(home, "confirm-off", "gateway", answers=[("type its name, gateway", "gateway")])
    assert (code, "only if Kita, 0166-00-0000 says that they see" in told.lower().replace("kita", "Kita")) == (0, True), told
    done = hikkoshi(home, "run", "gateway", "--only", "75", "--apply")
    assert "xl create" in done.stdout + done.stderr, "the Dom-0 is only a folder: a person starts the source there"
    assert not folder.cutover.exists()
    verified = hikkoshi(home, "verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)
