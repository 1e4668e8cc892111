"""What runs at the first start, run by a real shell in a folder that plays the guest: once, and then it is gone."""

from pathlib import Path

import pytest

from hikkoshi import tool
from hikkoshi.guest.additions import firststart
from hikkoshi.guest.additions.addition import STARTING, Additions, Carried
from hikkoshi.network import arrival
from hikkoshi.network.host import Host
from hikkoshi.params.folder import GuestFolder
from hikkoshi_lab import packages, userland

pytestmark = pytest.mark.needs("root", "chroot", "dpkg-deb")
SINCE = "2026-11-22T00:00:00+00:00"
SCRIPTS = {
    "01-good.sh": "#!/bin/sh\necho here; pwd; echo password=hunter2secret\necho once >>/ran\n",
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
    for path, text in firststart.texts(systemd=False).items():
        (root / path.strip("/")).write_text(text)
    for name, text in SCRIPTS.items():
        script = root / STARTING.strip("/") / name
        script.write_text(text)
        script.chmod(0o700)
    (root / f"etc/rc3.d/S99{firststart.SERVICE}").symlink_to(f"../init.d/{firststart.SERVICE}")
    (root / "sbin/update-rc.d").write_text('#!/bin/sh\nrm /etc/rc3.d/S99"$2"\n')
    (root / "sbin/update-rc.d").chmod(0o755)
    return root


def added() -> Additions:
    names = (name.partition("-")[2] for name in SCRIPTS)
    return Additions(first_start=tuple(Carried(file=f"scripts/{n}", sha256="a" * 64, bytes=1) for n in names))


def run(guest: Path) -> None:
    tool.run(["chroot", guest, "/bin/sh", firststart.RUNNER])


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


def test_what_went_down_in_the_middle_is_not_run_a_second_time(guest: Path) -> None:
    (guest / firststart.RESULT.strip("/")).write_text("begun 01-good.sh\n")
    run(guest)
    assert not (guest / "ran").exists()
    lines = (guest / firststart.RESULT.strip("/")).read_text().splitlines()
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
