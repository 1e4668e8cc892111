"""Whether vSphere's clocks and ours agree: a guest takes its host's time at its start, and records are held against ours."""

from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.vsphere.inventory import EsxiHost
from hikkoshi.vsphere.session import Session

APART = 60.0  # seconds
SYSTEM = "configManager.dateTimeSystem"


def check(v: Session, host: EsxiHost | None) -> Check:
    """The server's, and that of the host that the machine comes to."""
    told = {"server": _asked(v, lambda: vim.ServiceInstance("ServiceInstance", v.content.rootFolder._stub).CurrentTime())}
    if host is not None:
        told[host.name] = _asked(v, lambda: v.read(host.thing, SYSTEM)[SYSTEM].QueryDateTime())  # noqa: PLW0108 - it may lack one
    return agree(told, v.where)


def agree(apart: dict[str, float | None], where: str) -> Check:
    """Whether no clock of these is further from ours than `APART`; None is one that was not told."""
    words = [f"{name} {'does not tell' if s is None else f'{s:+.0f} s'}" for name, s in apart.items()]
    return Check(
        code="clocks-agree",
        title="vSphere's clocks and ours agree",
        ok=all(s is None or abs(s) <= APART for s in apart.values()),
        found=", ".join(words),
        expected=f"at most {APART:g} s",
        remedy="see which clock is wrong, here (timedatectl) or there (the host's time configuration), and have it follow NTP",
        where=where,
        unseen="not seen" if all(s is None for s in apart.values()) else "",
    )


def _asked(v: Session, ask: Any) -> float | None:
    """Seconds by which that clock is ahead of ours."""
    try:
        before = datetime.now(UTC)
        with v.asking("tell its time"):
            told = ask()
    except HikkoshiError:
        return None
    return float((told - before - (datetime.now(UTC) - before) / 2).total_seconds())
