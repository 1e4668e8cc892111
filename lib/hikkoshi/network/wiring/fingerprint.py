"""Who is heard on each NIC of a gateway: pairs of MAC and address, taken before the move and held against it afterwards.

This needs no plan: where the machines are that the old eth3 heard, there is eth3's segment.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar, Self

from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.errors import BadInput, Problem
from hikkoshi.network.wiring import wiring
from hikkoshi.network.wiring.frames import FrameEvidence
from hikkoshi.network.wiring.wiring import Heard, Witness
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import NETPERF, Step

OF_SENDERS = ("ARP", "broadcast", "multicast")  # kinds of evidence whose address is the sender's own


class NicFingerprint(Frozen):
    """One NIC: its own MAC, its link, and the pairs `MAC address` that were heard there, sorted."""

    mac: str
    link: str
    pairs: tuple[str, ...]


class Fingerprint(Artefact):
    """wiring-fingerprint.json: who was heard on each NIC of a host, in `seconds` of listening."""

    filename: ClassVar[str] = GuestFolder.fingerprint
    made_by: ClassVar[Step] = NETPERF
    host: str
    seconds: float
    nics: dict[str, NicFingerprint]

    @classmethod
    def of(cls, host: str, seconds: float, heard: Mapping[str, Heard]) -> Self:
        """The fingerprint of what was heard."""
        pairs = {
            name: sorted({f"{e.source} {e.address}" for e in h.evidence if e.kind in OF_SENDERS}) for name, h in heard.items()
        }
        nics = {n: NicFingerprint(mac=h.mac, link=h.link, pairs=tuple(pairs[n])) for n, h in heard.items()}
        return cls(host=host, seconds=round(seconds, 2), nics=nics)

    def compare(self, new: "Fingerprint") -> Witness:
        """Hold the new gateway's fingerprint against this, the old one's: segments are called as the old NICs were.

        A NIC is `ok` where all the pairs that both heard were heard on the NIC of its name. A pair that the old gateway heard
        on two NICs, or never, tells nothing. `BadInput` where the two have other NICs.
        """
        if set(new.nics) != set(self.nics):
            there, before = ", ".join(sorted(new.nics)), ", ".join(sorted(self.nics))
            raise BadInput(
                Problem(
                    code="fingerprints-differ",
                    what="these fingerprints are not of the same NICs",
                    where=new.host,
                    found=there,
                    expected=before,
                    remedy="take both anew",
                )
            )
        owners: dict[str, list[str]] = {}
        for name, ear in self.nics.items():
            for pair in ear.pairs:
                owners.setdefault(pair, []).append(name)

        def place(e: FrameEvidence) -> str:
            on = owners.get(f"{e.source} {e.address}", [])
            return on[0] if len(on) == 1 else ""

        heard = {}
        for name, ear in new.nics.items():
            split = [pair.split(" ") for pair in ear.pairs]
            evidence = [FrameEvidence("pair", mac, ip_address(address)) for mac, address in split]
            heard[name] = Heard(ear.mac, ear.link, evidence, len(evidence), 0, None)
        return wiring.witness(new.host, "fingerprint", new.seconds, heard, {n: n for n in new.nics}, place)
