"""`python -m hikkoshi_lab.body HOME`: run the machines of a home's lab until its vCenter or its network ends."""

import signal
import sys
import time
from pathlib import Path

from hikkoshi.errors import VSphereError
from hikkoshi.params.home import Home
from hikkoshi.rehearsal import accelerator
from hikkoshi.vsphere import session
from hikkoshi_lab import network, vcsim
from hikkoshi_lab.body.hypervisor import Hypervisor


def main(home: Home, folder: Path) -> None:
    """Until the end of the lab in `folder`, however it ends."""
    lab, server = network.find(folder), vcsim.find(folder)
    if lab is None or server is None:
        raise SystemExit("there is no lab")
    site = home.site().vsphere.model_copy(update={"server": f"{server.host}:{server.port}"})

    def wanted() -> bool:
        return server.alive and network.find(folder) is not None

    with Hypervisor(lab, accelerator.probe().name, say) as hypervisor:
        while wanted():
            try:
                with session.connect(home, site) as v:
                    say(f"following {v}")
                    hypervisor.follow(v, wanted)
            except VSphereError as e:
                say(f"{e}")
                time.sleep(0.5)


def say(words: str) -> None:
    """A line of the log."""
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that its folders go, too
    main(Home(Path(sys.argv[1])), Path(sys.argv[2]))
