"""Whether a guest serves from the very machine in vSphere that was approved, asked now: before anything in it is changed.

The source under Xen has the same addresses: before the cut-over, and after a rollback, its shell is the one that answers.
"""

from hikkoshi.approval.plan import Plan
from hikkoshi.check import Check
from hikkoshi.disk.conversion import Conversion
from hikkoshi.errors import HikkoshiError
from hikkoshi.network.host import unmeasured
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.contractor import ContractorsMachine
from hikkoshi.vsphere import cutover, session, vm
from hikkoshi.vsphere.cutover import InService
from hikkoshi.vsphere.order import Order
from hikkoshi.xen import dom0


def checks(home: Home, site: Site, guest: Guest, run: str) -> list[Check]:
    """The machine of 60-deploy is on, plugged in and on record as in service; the source is off. Not knowing counts as no."""
    title, folder = f"{guest.name} serves from its machine in vSphere", home.folder(guest.name)
    if why := unmeasured(guest):
        return [Check(code="serves-in-vsphere", title=title, ok=True, found=why, unseen="not measured")]
    try:
        if InService.find(folder) is None:
            remedy = "cut over first, with 70; under Xen nothing is changed from here (hikkoshi diagnose looks)"
            return [
                Check(
                    code="serves-in-vsphere",
                    title=title,
                    ok=False,
                    found="no cut-over is on record",
                    expected=InService.filename,
                    remedy=remedy,
                    where=guest.name,
                    later=True,
                )
            ]
        if site.vsphere.handover:
            theirs = ContractorsMachine(home, site, guest, Plan.find(folder))
            return [theirs.complete(), dom0.source_off(home, site, guest)]
        by, plan, disk = vm.owner(home, run, folder.lock), Plan.find(folder), Conversion.find(folder)
        order = Order.of(by, guest.name, plan, disk, folder)
        with session.connect(home, site.vsphere) as v:
            there = [cutover.complete(v, order, folder), cutover.deployed(v, order, folder)]
    except HikkoshiError as e:
        p = e.problems[0]
        return [
            Check(
                code="serves-in-vsphere",
                title=title,
                ok=False,
                found=f"not known: {p.what}: {p.found}",
                expected="an answer of vSphere",
                remedy=p.remedy,
                where=p.where,
            )
        ]
    return [*there, dom0.source_off(home, site, guest)]
