"""Whether the guest has a machine in another of the site's vSpheres: two with its MACs must never be on."""

from collections.abc import Iterator
from functools import partial

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run.step import ROLLBACK
from hikkoshi.vsphere import session, vm
from hikkoshi.vsphere.session import Session

PATIENCE = 30.0  # seconds for one vSphere


def checks(home: Home, site: Site, guest: Guest) -> Iterator[Check]:
    """One for each vSphere of the site that the guest does not go to; all are asked now. `site` is as it is for the guest.

    One that does not answer is red: nobody knows what is on there. A contractor's cannot be asked, and is not seen.
    """
    own = site.vsphere
    for vsphere in (s for s in home.site().servers() if (s.server, s.contractor) != (own.server, own.contractor)):
        check = partial(
            Check,
            code="none-elsewhere",
            title=f"no machine of {guest.name} is in {vsphere}",
            expected="none that is the guest's, and none that has its MACs",
            where="params/site.yml: vspheres",
        )
        if vsphere.handover:
            yield check(ok=True, found=f"{vsphere.contractor} cannot be asked from here", unseen="not seen")
            continue
        try:
            with session.connect(home, vsphere, timeout=PATIENCE) as v:
                found = list(_machines(v, guest))
        except HikkoshiError as e:
            remedy = f"see why it does not answer; if it is gone for good, take {vsphere} out of params/site.yml"
            yield check(ok=False, found=f"not known: {e.problems[0].what}", remedy=remedy)
            continue
        yield check(
            ok=not found,
            found=", ".join(found) or "none",
            remedy=f"if it is in service there, take it back by {ROLLBACK}, with the parameters that it went there with; then "
            "see whose it is, and remove it there",
        )


def _machines(v: Session, guest: Guest) -> Iterator[str]:
    wanted = {nic.mac.lower() for nic in guest.nics}
    for m in vm.every(v).values():
        if m.marks.get(vm.GUEST) == guest.name or wanted & set(m.nics):
            yield f"{m}, {m.power}, {len(m.plugged)} of {len(m.nics)} NICs plugged in"
