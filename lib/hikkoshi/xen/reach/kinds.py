"""The three kinds of Dom-0 that params/site.yml names: this machine, a folder here, a machine over ssh."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.xen.reach.host import Dom0Files, Dom0Host
from hikkoshi.xen.reach.local import LocalDom0
from hikkoshi.xen.reach.mounted import MountedDom0
from hikkoshi.xen.reach.remote import RemoteDom0

_look: ContextVar[dict[str, RemoteDom0] | None] = ContextVar("look", default=None)


def reached(home: Home, dom0: Dom0) -> Dom0Files:
    """A Dom-0's files, for one look; `BadInput` for a folder that is not there."""
    if dom0.root is not None and dom0.kind == "folder":
        return MountedDom0(home.path(dom0.root))
    return asked(dom0)


def asked(dom0: Dom0) -> Dom0Host:
    """A Dom-0 whose programs can be run: this machine, or one over ssh."""
    assert dom0.kind != "folder", "nobody can ask a folder"
    if dom0.ssh is None:
        return LocalDom0()
    known = _look.get()
    return RemoteDom0(dom0) if known is None else known.setdefault(dom0.ssh, RemoteDom0(dom0, remembers=True))


@contextmanager
def one_look() -> Iterator[None]:
    """As long as this lasts, no Dom-0 over ssh is asked twice: what its files hold, and what a program prints that only looks, is
    remembered. So several checks are of the same moment, too."""
    token = _look.set({})
    try:
        yield
    finally:
        _look.reset(token)
