"""`python -m hikkoshi_lab.vmxnet3`, which is `make proof-vmxnet3`: prints the table; ends with 1 if a row does not hold."""

import shutil
import sys

from hikkoshi.errors import HikkoshiError
from hikkoshi_lab import lab, network, packages, proof
from hikkoshi_lab.vmxnet3 import driver, play


def main() -> int:
    """In a home of its own, whose records stay to be looked at; the lab in it ends in any case."""
    try:
        module = driver.built(packages.load()[packages.KERNEL])
        with network.up():  # refused at once, where this user or this kernel cannot have one
            pass
        home = play.home()
        try:
            lab.up(home)
            good = proof.shown(play.rows(home, module))
        finally:
            lab.down(home)
    except HikkoshiError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    print(f"\nRecords, figures and outputs: {home.outputs}")
    shutil.rmtree(home.folder(play.GATEWAY).disks, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
