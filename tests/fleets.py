"""A site of many guests whose runbooks stand in for the real ones: each takes 0.2 seconds, and looks whether it is alone."""

import re

from hikkoshi.params.home import Home
from hikkoshi.run.journal import Journal
from runbooks import PARAMETERS, install

SECONDS = 0.2  # of an action
STEPS = ("30-prepare", "40-convert")
ACTION = """
import fcntl, os, time
from hikkoshi import files
place = run.home.root / "world"
place.mkdir(exist_ok=True)
done = place / f"{run.guest.name} {run.step}"
def act(progress):
    with files.updated(place / run.guest.name) as alone, files.updated(place / "twice") as twice:
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            twice.write(f"{run.id}\\n".encode())
        time.sleep(SECONDS)
        assert not (place / f"{run.guest.name} fails").exists(), "it was to fail"
        with files.part(done) as part:
            part.write_text(os.environ.get("WORKER", "here"))
"""
ENSURE = 'run.ensure("make it", holds=done.exists, act=act)'
AT_ONCE = "act(None)"
VERIFY = 'from hikkoshi.check import Check\nrun.verify([Check(code="a-code", title="x", ok=done.exists())])\nrun.evidence([done])'
LOOK = "run.verify([])\nrun.evidence()"


def site(home: Home, guests: int, *, dom0s: int = 1, seconds: float = SECONDS, waves: int = 1) -> list[str]:
    """Give a home so many guests, in turn on each Dom-0 and in each wave, and the runbooks; the guests' names."""
    folder, text = home.root / "params" / "guests", (home.root / "params" / "guests" / "idp.yml").read_text()
    for path in folder.glob("*.yml"):
        path.unlink()
    written = home.root / "params" / "site.yml"
    hosts = "".join(f"  host{n}: {{ root: outputs/lab/dom0-{n} }}\n" for n in range(dom0s))
    written.write_text(re.sub(r"(?ms)^dom0s:\n.*?\n\n", f"dom0s:\n{hosts}\n", written.read_text()))
    names = [f"g{n:04d}" for n in range(guests)]
    for n, name in enumerate(names):
        own = text.replace("name: idp", f"name: {name}").replace("xenhost", f"host{n % dom0s}").replace("/idp", f"/{name}")
        (folder / f"{name}.yml").write_text(own + (f"wave: {n % waves + 1}\n" if waves > 1 else ""))
    for step in STEPS:
        install(home, ACTION.replace("SECONDS", str(seconds)), ENSURE, verify=VERIFY, step=step)
    return names


def read_only(home: Home, step: str, seconds: float = SECONDS) -> None:
    """And one that acts in plan mode, too."""
    parameters = "\n".join(line for line in PARAMETERS.splitlines() if not line.startswith("mode"))
    install(home, ACTION.replace("SECONDS", str(seconds)), AT_ONCE, verify=LOOK, step=step, parameters=parameters)


def acts(home: Home, guest: str) -> bool:
    """Whether an action of the guest has begun."""
    return any(e.event == "start" for e in Journal(home.folder(guest).journal).entries())


def succeeded(home: Home, guest: str) -> list[str]:
    """The steps of a guest that were carried out to their ends, each once, in the order of their first success."""
    journal = Journal(home.folder(guest).journal)
    journal.check()
    return list(dict.fromkeys(e.step for e in journal.entries() if e.event == "outcome" and e.outcome == "succeeded"))


def world(home: Home) -> dict[str, str]:
    """What the actions have made, and which worker; `twice` has a line for each that was not alone with its guest."""
    files = (home.root / "world").iterdir()
    return {p.name: p.read_text() for p in files if " " in p.name or p.name == "twice"}
