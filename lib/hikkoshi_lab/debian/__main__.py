"""Makes the root file systems that the tests need, or, with the word `all`, those of `make guests` too."""

import sys
from collections.abc import Sequence

from hikkoshi.errors import HikkoshiError
from hikkoshi_lab.debian import archives, tree

TOOLS = "open-vm-tools"


def main(argv: Sequence[str]) -> int:
    """Make them, and say so."""
    try:
        for wanted in tree.TREES.values() if "all" in argv else [tree.TREES["debian"]]:
            print(f"{wanted.name}: {tree.fetch(wanted)}", flush=True)
        print(f"{TOOLS} for it: {archives.fetch(TOOLS)}", flush=True)
    except HikkoshiError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
