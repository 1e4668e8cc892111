"""Tasks carried out by the workers of a Dask cluster, all of which see the site's folder under the same path.

Whoever has a certificate of its authority runs programs on its machines and, by its scheduler, here: it is trusted with all but
the truth. What is done stands in journals, and who is at work on a guest in its lock. A worker that reads from a Dom-0 is one
that says so: `--resources dom0:xenhost=1`.
"""

import contextlib
import functools
import gc
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hikkoshi.errors import Problem, Refused, ToolFailed
from hikkoshi.fleet.task import Task, carry_out
from hikkoshi.params.home import Home

PATIENCE = 15  # seconds that its scheduler has for an answer
LOOK = 5.0  # seconds between two looks at which workers there are
GRACE = 60.0  # seconds that a lost one has for coming back: what only it can carry out would wait without end


class Cluster:
    """The cluster of a scheduler; `dom0s` are those from which its workers will have to read. At most `jobs` at once.

    `ToolFailed` where it cannot be reached, or one does not trust the other's certificate. `Refused` where no worker is near one
    of the Dom-0s, or where the scheduler would begin a step again by itself.
    """

    def __init__(
        self,
        home: Home,
        address: str,
        dom0s: Iterable[str],
        jobs: int | None = None,
        *,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
    ) -> None:
        self._home = str(home.root)
        self._order = home.fleet / f"{uuid.uuid4().hex}.signal"  # what the workers look at
        self._client = _connected(address, ca, certificate, key)
        try:
            settings = self._client.run_on_scheduler(_settings)
            _refuse(address, settings, dom0s)
        except BaseException:
            self._client.close()
            raise
        self.jobs: int = min(jobs or settings["threads"], settings["threads"])
        self._labels = set(settings["labels"])
        self._looked = self._complete = time.monotonic()  # when all of these labels were there

    def submit(self, task: Task) -> Any:
        """Have a worker begin it."""
        name = f"{task.guest} {task.steps[0]} {uuid.uuid4().hex}"
        near = {slot: 1 for slot in task.slots if slot in self._labels}
        asked = functools.partial(_asked, str(self._order))
        return self._client.submit(carry_out, self._home, task, asked, key=name, resources=near, retries=0, pure=False)

    def end(self, signum: int) -> None:
        """Send a signal to the process groups of all."""
        self._order.write_text(str(int(signum)))

    def lost(self) -> bool:
        """Whether nothing can be heard of them any more, or a label is gone for long."""
        if self._client.status != "running":
            return True
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            with contextlib.suppress(OSError):  # its scheduler has gone: the next look finds that
                if self._labels <= set(self._client.run_on_scheduler(_settings)["labels"]):
                    self._complete = now
        return now - self._complete > GRACE

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._order.unlink(missing_ok=True)
        self._client.close(timeout=PATIENCE)


def _connected(address: str, ca: Path | None, certificate: Path | None, key: Path | None) -> Any:
    if not address.startswith("tls://"):
        raise Refused(
            Problem(
                code="cluster-without-tls",
                what="a cluster that anybody can speak to runs whatever it is sent",
                where="--scheduler",
                found=address,
                expected="tls://HOST:PORT",
                remedy="start its scheduler and workers with --tls-ca-file, --tls-cert and --tls-key",
            )
        )
    try:
        from distributed import Client, Security  # noqa: PLC0415 - an extra, which takes half a second to load
    except ImportError:
        remedy = "pip install 'hikkoshi[fleet]', here and on the cluster's machines"
        raise ToolFailed(Problem(code="dask-missing", what="Dask is not installed", where=address, remedy=remedy)) from None
    given = {"tls_ca_file": ca, "tls_client_cert": certificate, "tls_client_key": key}
    security = Security(require_encryption=True, **{name: str(path) for name, path in given.items() if path})
    try:
        return Client(address, security=security, timeout=PATIENCE, set_as_default=False)
    except (OSError, TypeError, ValueError) as e:  # TimeoutError is one; the others are of settings that cannot be right
        found = f"{type(e).__name__}: {e}"
    gc.collect()  # of the half client: it would keep us half a minute when the command ends
    raise ToolFailed(
        Problem(
            code="cluster-unreachable",
            what="the cluster's scheduler cannot be reached",
            where=address,
            found=found,
            expected="a scheduler there, whose certificate and yours are of the authority in --tls-ca",
            remedy="see whether it runs, and compare the certificates",
        )
    )


def _settings(dask_scheduler: Any) -> dict[str, Any]:
    """Carried out by the scheduler: what its workers are, and how often it begins again what a lost one did."""
    workers = list(dask_scheduler.workers.values())
    return {
        "again": dask_scheduler.allowed_failures,
        "threads": sum(w.nthreads for w in workers),
        "labels": sorted({label for w in workers for label in w.resources}),
    }


def _refuse(address: str, settings: dict[str, Any], dom0s: Iterable[str]) -> None:
    problems = []
    if settings["again"]:
        problems.append(
            Problem(
                code="cluster-repeats",
                what="the scheduler begins a step again when a worker is lost",
                where=address,
                found=f"distributed.scheduler.allowed-failures: {settings['again']}",
                expected="0",
                remedy="start it with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0",
            )
        )
    if not settings["threads"]:
        remedy = "start its workers"
        problems.append(Problem(code="cluster-without-workers", what="the cluster has no workers", where=address, remedy=remedy))
    far = sorted(dom0 for dom0 in set(dom0s) if f"dom0:{dom0}" not in settings["labels"])
    if far and settings["threads"]:
        problems.append(
            Problem(
                code="no-worker-near",
                what="no worker is near a Dom-0",
                where=address,
                found=", ".join(settings["labels"]) or "no labels",
                expected=", ".join(f"dom0:{name}" for name in far),
                remedy="start one near each with --resources 'dom0:NAME=1'; the number is that of disks read at once",
            )
        )
    if problems:
        raise Refused(*problems)


def _asked(order: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(order).read_text())
    return 0
