"""Many guests' disks in one appliance: a start of libguestfs under emulation takes as long as ten inspections."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from hikkoshi import tool
from hikkoshi.guest import appliance

SHARED = r"""
import contextlib, importlib.util, io, json, re, socket, sys
path, folder, *disks = sys.argv[1:]
spec = importlib.util.spec_from_file_location("worker", path)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
known = {disk: n for n, disk in enumerate(disks)}
job = {"accelerator": "tcg", "folder": folder, "disks": [{"path": disk} for disk in disks]}
g = worker.launch(job, readonly=True)

class One:
    # the appliance as if it held nothing but the disks of one job
    def __init__(self, job, readonly):
        self.names = {chr(97 + n): chr(97 + known.get(disk["path"], 0)) for n, disk in enumerate(job["disks"])}

    def __getattr__(self, name):
        def call(*told):
            own = [re.sub("(?<=^/dev/sd)[a-z]", lambda m: self.names[m[0]], t) if isinstance(t, str) else t for t in told]
            return getattr(g, name)(*own)

        return call

    def list_partitions(self):
        here = {own: name for name, own in self.names.items()}
        return ["/dev/sd" + here[p[7]] + p[8:] for p in g.list_partitions() if p[7] in here]

    def shutdown(self):
        pass

    close = shutdown

worker.launch = One
with socket.create_server(("127.0.0.1", 0)) as door:
    print(door.getsockname()[1], flush=True)
    while True:
        caller = door.accept()[0]
        with caller, caller.makefile("rw") as stream, contextlib.redirect_stdout(stream):
            sys.stdin = io.StringIO(stream.readline())
            worker.main()
            worker.signal.alarm(0)
            g.umount_all()
"""
CALLER = r"""
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as s, s.makefile("rw") as stream:
    print(sys.stdin.read(), file=stream, flush=True)
    for line in stream:
        print(line, end="", flush=True)
"""


@contextlib.contextmanager
def one_appliance(disks: Sequence[Path], folder: Path) -> Iterator[Path]:
    """A program to be taken for the worker: as ever, but that one appliance, started once, holds all these disks.

    What a job writes to them is thrown away at the end. A disk that is not among them is taken for a copy of the first.
    """
    argv = [tool.guestfs_python(), "-I", "-c", SHARED, appliance.WORKER, folder, *[disk.resolve() for disk in disks]]
    process = subprocess.Popen(
        tool.command(argv), stdout=subprocess.PIPE, env=os.environ | tool.guestfs_environment(), start_new_session=True
    )
    try:
        assert process.stdout is not None
        caller = folder / "caller.py"
        caller.write_text(CALLER.format(port=int(process.stdout.readline())))
        yield caller
    finally:
        tool.end(process)
