"""offloads.json: why a guest slowed its network down, and how fast it was before and after the remedy."""

from typing import ClassVar

from hikkoshi.artefact import Artefact
from hikkoshi.network.diagnosis import aggregation
from hikkoshi.network.diagnosis.diagnosis import Diagnosis
from hikkoshi.network.throughput.measured import Measured
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import OFFLOADS, Step


class Cure(Artefact):
    """offloads.json: the cause that was named, and what was measured after the remedy."""

    filename: ClassVar[str] = GuestFolder.offloads
    made_by: ClassVar[Step] = OFFLOADS
    since: str  # since when the guest served so: the cut-over's time, or empty under Xen
    diagnosis: Diagnosis
    folder: str  # below netperf/: what the machines told
    before: Measured | None = None  # what 80-netperf had measured
    after: Measured | None = None

    @property
    def curable(self) -> bool:
        """Whether the cause that was named is one that the remedy is for."""
        return self.diagnosis.cause in (aggregation.LRO, aggregation.MERGED)
