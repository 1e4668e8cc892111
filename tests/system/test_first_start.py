"""What runs at the first start, run by a real shell in a folder that plays the guest: once, and then it is gone."""

import io
import tarfile
from pathlib import Path, PurePath

import pytest

from hikkoshi import tool
from hikkoshi.check import Check, Permission
from hikkoshi.errors import Refused
from hikkoshi.guest.additions import firststart
from hikkoshi.guest.additions.addition import FOLDER, RESULT, STARTING, WAITING, Additions, Carried
from hikkoshi.network import arrival
from hikkoshi.network.host import Host
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import CUTOVER
from hikkoshi_lab import packages, userland

pytestmark = pytest.mark.needs("root", "chroot", "dpkg-deb")
SINCE = "2026-11-22T00:00:00+00:00"
SCRIPTS = {
    "01-good.sh": "#!/bin/sh\necho here; pwd; echo password=hunter2secret; echo curl -u root:hunter2secret x\necho once >>/ran\n",
    "02-bad.sh": "#!/bin/sh\necho no luck >&2\nexit 3\n",
}


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A root of busybox's, as a preparation leaves it."""
    root = tmp_path / "root"
    for name in ("bin", "sbin", "etc/init.d", "etc/rc3.d", "var/log", STARTING.strip("/")):
        (root / name).mkdir(parents=True)
    unpacked = userland.unpack(packages.load()["busybox-static"], ("bin/busybox",).__contains__)
    (root / "bin/busybox").write_bytes(unpacked["bin/busybox"].data)
    (root / "bin/busybox").chmod(0o755)
    for name in ("dev", "proc"):
        (root / name).mkdir()
    (root / "dev/null").touch(mode=0o666)
    tool.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"])
    for path, text in firststart.texts(False, added()).items():
        (root / path.strip("/")).write_text(text)
    for name, text in SCRIPTS.items():
        script = root / STARTING.strip("/") / name
        script.write_text(text)
        script.chmod(0o700)
    (root / f"etc/rc3.d/S99{firststart.SERVICE}").symlink_to(f"../init.d/{firststart.SERVICE}")
    (root / "sbin/update-rc.d").write_text('#!/bin/sh\nrm /etc/rc3.d/S99"$2"\n')
    (root / "sbin/update-rc.d").chmod(0o755)
    return root


def serves(ok: bool) -> Check:
    return Check(code="serves", title="it serves", ok=ok)


def permission(shell: str = "netns:gw") -> Permission:
    names = ("run", "guest", "plan", "vmdk", "machine", "approver", "given")
    return Permission(step=CUTOVER.id, shell=shell, **dict.fromkeys(names, "x"))


def added() -> Additions:
    names = (name.partition("-")[2] for name in SCRIPTS)
    return Additions(first_start=tuple(Carried(file=f"scripts/{n}", sha256="a" * 64, bytes=1) for n in names))


def run(guest: Path) -> None:
    tool.run(["chroot", guest, "/bin/env", "-i", "/bin/sh", firststart.RUNNER])  # as init starts it


def test_each_script_runs_once_and_what_started_it_is_gone(guest: Path) -> None:
    run(guest)
    assert (guest / "ran").read_text() == "once\n"
    assert not (guest / firststart.RUNNER.strip("/")).exists()
    assert not (guest / firststart.SCRIPT.strip("/")).exists()
    assert not (guest / STARTING.strip("/")).exists()
    assert list((guest / "etc/rc3.d").iterdir()) == []
    log = guest / firststart.LOG.strip("/")
    assert oct(log.stat().st_mode & 0o777) == "0o600"
    assert "no luck" in log.read_text()


def test_a_script_has_the_rights_and_the_home_that_an_administrator_has(guest: Path) -> None:
    script = guest / STARTING.strip("/") / "01-good.sh"
    script.write_text('#!/bin/sh\necho "$HOME" >/told\nmkdir /made\n')
    run(guest)
    assert (guest / "told").read_text() == "/root\n"
    assert [oct((guest / name).stat().st_mode & 0o777) for name in ("told", "made")] == ["0o644", "0o755"]
    assert oct((guest / RESULT.strip("/")).stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    ("place", "program", "asked"),
    [
        ("run/systemd/system", "bin/systemctl", "start network-online.target"),
        ("usr/bin", "usr/bin/nm-online", f"-q -x -t {firststart.ONLINE}"),
    ],
    ids=["systemd", "NetworkManager"],
)
def test_the_scripts_wait_for_the_guests_addresses_and_run_where_none_come(
    guest: Path, place: str, program: str, asked: str
) -> None:
    (guest / place).mkdir(parents=True)
    (guest / program).write_text('#!/bin/sh\n[ -e /ran ] || echo "$*" >/asked\nexit 1\n')
    (guest / program).chmod(0o755)
    run(guest)
    assert (guest / "asked").read_text() == f"{asked}\n"
    assert (guest / "ran").read_text() == "once\n"


def test_what_went_down_in_the_middle_is_not_run_a_second_time(guest: Path) -> None:
    (guest / RESULT.strip("/")).write_text("begun 01-good.sh\n")
    run(guest)
    assert not (guest / "ran").exists()
    lines = (guest / RESULT.strip("/")).read_text().splitlines()
    assert firststart.read(lines)[0] == "interrupted"


def test_the_guests_shell_tells_how_each_script_ended_and_a_bad_one_is_red(guest: Path, tmp_path: Path) -> None:
    shell, folder = Host("the guest", ("chroot", str(guest))), GuestFolder(tmp_path / "gateway")
    folder.mkdir()
    assert not arrival.seen(folder, added(), SINCE, "")
    run(guest)
    found = arrival.look(shell, folder, SINCE)
    assert (found.state, [str(s) for s in found.first]) == ("complete", ["01-good.sh: exit status 0", "02-bad.sh: exit status 3"])
    assert "no luck" in found.log
    assert "hunter2secret" not in found.model_dump_json()
    assert arrival.seen(folder, added(), SINCE, "")
    assert [bool(c) for c in arrival.proofs(folder, added(), SINCE, "")] == [True, False]
    assert not arrival.seen(folder, added(), "2026-11-23T00:00:00+00:00", ""), "of another cut-over"


def test_what_still_waits_is_waited_for_no_longer_than_said(guest: Path, tmp_path: Path) -> None:
    shell, folder = Host("the guest", ("chroot", str(guest))), GuestFolder(tmp_path / "gateway")
    folder.mkdir()
    assert arrival.look(shell, folder, SINCE, limit=0).state == "running"
    assert not arrival.seen(folder, added(), SINCE, "")


def test_without_a_shell_nobody_can_look_and_that_is_said(tmp_path: Path) -> None:
    folder = GuestFolder(tmp_path)
    (only,) = arrival.proofs(folder, added(), SINCE, "params/guests/idp.yml has no measurement")
    assert only.unseen == "not measured"
    assert firststart.LOG in only.found
    assert arrival.seen(folder, Additions(), SINCE, "").unseen == "not needed"


def test_the_guests_own_shell_installs_tools_by_the_approved_command_and_only_while_it_serves(guest: Path) -> None:
    shell, address = Host("the guest", ("chroot", str(guest))), "netns:gw"
    script = "printf '#!/bin/sh\\necho 12.2.0.41219\\n' >/bin/vmware-toolbox-cmd; chmod 755 /bin/vmware-toolbox-cmd"
    wanted = Additions(repository=script)
    assert not arrival.tools(shell, wanted, "")
    for allowed, seen in ((permission("netns:other"), serves(True)), (permission(), serves(False))):
        with pytest.raises(Refused):
            arrival.install(shell, wanted, allowed, [seen], address)
    assert not arrival.tools(shell, wanted, "")
    arrival.install(shell, wanted, permission(), [serves(True)], address)
    assert arrival.tools(shell, wanted, "").found == "12.2.0.41219"


def test_nobody_asks_for_tools_that_are_not_brought_or_of_a_machine_that_does_not_serve() -> None:
    assert arrival.tools(None, Additions(no_tools="the vendor forbids it"), "").found == "the vendor forbids it"
    assert arrival.tools(None, Additions(repository="x"), "no shell").unseen == "not measured"
    assert not arrival.tools(None, Additions(repository="x"), "")


STAND_IN = """\
#!/bin/sh
# as the real one's options are told
for option; do
    case $option in
    --help) echo "Usage: vmware-install.pl [--default] [--force-install] [--clobber-kernel-modules=<…>]" && exit 0 ;;
    --default | -d | --force-install) ;;
    *) echo "unknown option $option" >&2 && exit 2 ;;
    esac
done
echo "installing with $*"
printf '#!/bin/sh\\necho 10.3.26.22757\\n' >/bin/vmware-toolbox-cmd
chmod 755 /bin/vmware-toolbox-cmd
echo "$*" >>/installed
"""


def test_an_archives_installer_runs_once_and_unattended_and_its_log_is_read(guest: Path, tmp_path: Path) -> None:
    shell, folder = Host("the guest", ("chroot", str(guest))), GuestFolder(tmp_path / "gateway")
    folder.mkdir()
    wanted = added().model_copy(update={"archive": (Carried(file="VMwareTools-10.tar.gz", sha256="a" * 64, bytes=1),)})
    for path, text in firststart.texts(False, wanted).items():
        (guest / path.strip("/")).write_text(text)
    (guest / WAITING.strip("/")).mkdir()
    with tarfile.open(guest / WAITING.strip("/") / "VMwareTools-10.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("vmware-tools-distrib/vmware-install.pl")
        member.size, member.mode = len(STAND_IN.encode()), 0o755
        tar.addfile(member, io.BytesIO(STAND_IN.encode()))
    run(guest)
    found = arrival.look(shell, folder, SINCE)
    assert [s.name for s in found.first] == ["00-vmware-tools.sh", "01-good.sh", "02-bad.sh"]
    assert found.first[0].status == 0
    assert "installing with --default --force-install" in found.log
    assert (guest / "installed").read_text() == "--default --force-install\n"
    assert [p.name for p in (guest / FOLDER.strip("/")).iterdir()] == [PurePath(RESULT).name], "it has unpacked nothing for good"
    assert not (guest / WAITING.strip("/")).exists()
    assert arrival.tools(shell, wanted, "").found == "10.3.26.22757"
