"""What is brought along, in real guests: prepared in the appliance, booted, and found there; and what fails keeps no copy."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from hikkoshi.disk import digest
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import StepFailed
from hikkoshi.guest import appliance, preparation, prepared
from hikkoshi.guest.additions import addition, tools
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.guest import Guest, ToolsWish
from hikkoshi.params.home import Home
from hikkoshi.rehearsal.boot import boot
from hikkoshi.rehearsal.outcome import BootOutcome, Ending
from hikkoshi_lab import matrix
from hikkoshi_lab.variants import VARIANTS, Variant

pytestmark = pytest.mark.needs("qemu-system-x86_64", "debugfs", "mke2fs", "dpkg-deb")

CHANGES = "#!/bin/sh\necho password=hunter2secret; echo prepared >/etc/motd; ls /boot/initrd* >/dev/null\n"
STARTS = '#!/bin/sh\ntest "$(cat /etc/motd)" = prepared || exit 4\nexit 3\n'
INSTALLER = """\
#!/bin/sh
[ "$*" = --help ] && echo "vmware-install.pl [--default] [--force-install]" && exit
[ "$*" = "--default --force-install" ]
"""


@dataclass
class Brought:
    variant: Variant
    facts: GuestFacts
    additions: Additions
    plan: Preparation
    result: Prepared
    outcome: BootOutcome
    root: Path
    sources: tuple[str, str]

    def again(self) -> Preparation:
        return planned(self.variant, self.result.facts, self.additions)


def planned(variant: Variant, facts: GuestFacts, additions: Additions) -> Preparation:
    macs = {f"eth{n}": nic.mac for n, nic in enumerate(variant.image.nics)}
    return preparation.plan(facts, controller=variant.controller, nic_model=variant.nic_model, macs=macs, additions=additions)


def source(origin: Origin) -> str:
    return "".join(hashlib.sha256(p.path.read_bytes()).hexdigest() for p in origin.parts)


def brought(name: str, root: Path, wish: ToolsWish) -> Brought:
    """A guest of the lab with scripts and Tools, prepared and booted."""
    variant = VARIANTS[name]
    origin = matrix.origin_of(variant)
    (root / "changes.sh").write_text(CHANGES)
    (root / "starts.sh").write_text(STARTS)
    guest = Guest(
        name=name,
        dom0="x",
        config=Path("x"),
        nics=(),
        tools=wish,
        prepare=(Path("changes.sh"),),
        first_start=(Path("starts.sh"),),
    )
    before = source(origin)
    facts = appliance.inspect(origin)
    added = tools.of(Home(root), guest, facts)
    plan = planned(variant, facts, added)
    folder = GuestFolder(root / name)
    folder.mkdir()
    with origin.opened() as disk:
        surveyed = digest.of(disk)
    result = prepared.start(origin, folder, plan, surveyed, root=root)
    assert [c.code for c in prepared.verify(folder, plan) if not c] == []
    machine = matrix.machine_of(variant).model_copy(update={"as_vmware": True})
    outcome = boot(folder.prepared_copy, "raw", machine, root / "boots", "after", probe=True, accelerator="tcg")
    return Brought(variant, facts, added, plan, result, outcome, root, (before, source(origin)))


@pytest.fixture(scope="module")
def el5(tmp_path_factory: pytest.TempPathFactory) -> Brought:
    """With an archive whose installer is a stand-in that knows the real one's options."""
    root = tmp_path_factory.mktemp("el5")
    with tarfile.open(root / "VMwareTools-10.3.26-1.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(tools.INSTALLER)
        member.size, member.mode = len(INSTALLER), 0o755
        tar.addfile(member, io.BytesIO(INSTALLER.encode()))
    return brought("el5-fsck", root, ToolsWish(archive=Path("VMwareTools-10.3.26-1.tar.gz")))


def test_a_script_changed_the_copy_and_its_output_is_kept_without_secrets(el5: Brought) -> None:
    (ran,) = el5.result.ran
    assert (ran.name, ran.status, ran.output) == ("changes.sh", 0, "password=‹not kept›\n")


def test_an_old_guest_runs_the_archives_installer_and_the_scripts_once(el5: Brought) -> None:
    assert el5.outcome.ending is Ending.LOGIN
    assert el5.outcome.first_state == "complete"
    assert [(s.name, s.status) for s in el5.outcome.first] == [("00-vmware-tools.sh", 0), ("01-starts.sh", 3)]


def test_a_second_preparation_changes_nothing_and_the_source_is_as_it_was(el5: Brought) -> None:
    again = el5.again()
    assert (again.edits, again.commands, again.additions.listed()) == ((), (), [])
    assert el5.sources[0] == el5.sources[1]


def test_a_script_that_fails_on_the_copy_keeps_no_copy(el5: Brought, tmp_path: Path) -> None:
    (tmp_path / "bad.sh").write_text("#!/bin/sh\necho no luck\nexit 7\n")
    guest = Guest(name="bad", dom0="x", config=Path("x"), nics=(), prepare=(Path("bad.sh"),))
    plan = planned(el5.variant, el5.facts, addition.scripts(Home(tmp_path), guest))
    folder, origin = GuestFolder(tmp_path / "bad"), matrix.origin_of(el5.variant)
    folder.mkdir()
    with origin.opened() as disk:
        surveyed = digest.of(disk)
    with pytest.raises(StepFailed, match=r"bad\.sh(.|\n)*exit status 7: no luck"):
        prepared.start(origin, folder, plan, surveyed, root=tmp_path)
    assert list(folder.disks.iterdir()) == []
