"""A real Dask cluster on this machine, by TLS: a scheduler and workers, each a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hikkoshi_lab import certificate
from processes import PATIENCE, wait_for


class DaskCluster:
    """A scheduler, and a worker for each of `labels`, which has two threads; `folder` is for what they write."""

    def __init__(self, folder: Path, labels: tuple[str, ...], again: int = 0) -> None:
        self.folder, self.labels, self.again, self.begun = folder, labels, again, 0
        certificate.make(folder)
        self.scheduler = self.begin_scheduler()
        self.begin_workers()

    def begin_scheduler(self) -> "subprocess.Popen[bytes]":
        """One with a port of its own."""
        written = self.folder / "scheduler.json"
        written.unlink(missing_ok=True)
        more = ["--host", "127.0.0.1", "--port", "0", "--protocol", "tls", "--scheduler-file", str(written)]
        begun = self._begin("dask_scheduler", *more, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=str(self.again))
        wait_for(written.exists, "the scheduler listens")
        self.address: str = json.loads(written.read_text())["address"]
        return begun

    def begin_workers(self) -> None:
        """All of them, at once."""
        self.workers = [self.begin_worker(n) for n in range(len(self.labels))]
        self.await_workers()

    def await_workers(self) -> None:
        """Wait until the scheduler knows as many as were begun."""
        log = self.folder / "dask_scheduler.log"
        wait_for(lambda: log.read_text().count("Starting worker compute stream") >= self.begun, "the workers are there")

    def begin_worker(self, n: int) -> "subprocess.Popen[bytes]":
        """The worker of a label."""
        self.begun += 1
        more = ["--no-nanny", "--nthreads", "2", "--resources", f"{self.labels[n]}=1", "--local-directory", str(self.folder)]
        return self._begin("dask_worker", self.address, *more, WORKER=self.labels[n])

    def replace_worker(self, n: int) -> None:
        """Kill one, and begin another in its place."""
        self.workers[n].kill()
        self.workers[n].wait()
        self.workers[n] = self.begin_worker(n)
        self.await_workers()

    def replace_scheduler(self) -> None:
        """Kill it, and begin another; workers end without theirs, and so do these."""
        self.scheduler.kill()
        self.scheduler.wait()
        for worker in self.workers:
            worker.wait(PATIENCE)
        self.scheduler = self.begin_scheduler()
        self.begin_workers()

    @property
    def options(self) -> tuple[str, ...]:
        """Of a fleet that is carried out here."""
        return "--scheduler", self.address, *self.trusting(self.folder)

    @staticmethod
    def trusting(folder: Path) -> tuple[str, ...]:
        """The options that name the certificates of a folder."""
        names = {"ca": certificate.CA, "cert": certificate.CERTIFICATE, "key": certificate.KEY}
        return tuple(word for name, file in names.items() for word in (f"--tls-{name}", str(folder / file)))

    def close(self) -> None:
        """End all of them."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _begin(self, program: str, *argv: str, **environment: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.{program}", *argv, "--no-dashboard"]
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *("--tls-ca-file" if word == "--tls-ca" else word for word in self.trusting(self.folder))],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
