"""The steps of a guest's move: what each one is. Nothing else in this package knows their ids.

It imports nothing, so that whatever refuses, deep below, can name the step that helps: f"run {CONVERT} again".
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Step:
    """One runbook; as a text it is its id, the name of its notebook."""

    id: str
    title: str  # what it does, behind its id
    noun: str  # what it is called in a sentence
    done: str  # what became of the guest by it
    changes: str  # what is not as before, once it acts
    read_only: bool = False  # it has no plan and apply: running it does it
    on_request: bool = False  # never a part of a plain `hikkoshi run`
    approved: bool = False  # in apply, it does nothing without an approval; going back needs none
    loads: Literal["", "dom0", "vsphere", "network"] = ""  # what it shares with other guests' steps, most of its time

    def __str__(self) -> str:
        return self.id

    @property
    def number(self) -> str:
        """'40', which stands for it in a command."""
        return self.id.partition("-")[0]

    @property
    def word(self) -> str:
        """'convert', which stands for it as well."""
        return self.id.partition("-")[2]


SURVEY = Step(
    id="10-survey", title="what the guest is", noun="survey", done="surveyed", changes="nothing", read_only=True, loads="dom0"
)
PLAN = Step(
    id="20-plan", title="what it will become", noun="plan", done="planned", changes="nothing", read_only=True, loads="vsphere"
)
PREPARE = Step(
    id="30-prepare",
    title="make a copy bootable on VMware",
    noun="preparation",
    done="prepared (a copy)",
    changes="a copy",
    loads="dom0",
)
CONVERT = Step(id="40-convert", title="disk to streamOptimized VMDK", noun="conversion", done="converted", changes="a new file")
REHEARSE = Step(
    id="50-rehearse", title="boot that VMDK on VMware-like hardware", noun="rehearsal", done="rehearsed", changes="nothing"
)
DEPLOY = Step(
    id="60-deploy",
    title="import into vSphere, NICs disconnected",
    noun="deployment",
    done="deployed",
    changes="a new machine",
    loads="vsphere",
)
CUTOVER = Step(
    id="70-cutover",
    title="connect and power on",
    noun="cut-over",
    done="cut over",
    changes="the service",
    on_request=True,
    approved=True,
    loads="vsphere",
)
ROLLBACK = Step(
    id="75-rollback", title="source back in service", noun="rollback", done="rolled back", changes="the service", on_request=True
)
NETPERF = Step(
    id="80-netperf",
    title="is it as fast as without the guest between?",
    noun="measurement of the speed",
    done="speed measured",
    changes="nothing; it loads the network",
    on_request=True,
    loads="network",
)
OFFLOADS = Step(
    id="85-offloads",
    title="name the cause, remedy it, prove it",
    noun="remedy",
    done="cause named, remedied",
    changes="the guest's NIC settings",
    on_request=True,
    approved=True,
    loads="network",
)
REPORT = Step(
    id="90-report",
    title="the guest's whole story",
    noun="report",
    done="reported",
    changes="a report (HTML, PDF) and records",
    read_only=True,
    on_request=True,
)

_WAY = (SURVEY, PLAN, PREPARE, CONVERT, REHEARSE, DEPLOY, CUTOVER)
STEPS = {s.id: s for s in (*_WAY, ROLLBACK, NETPERF, OFFLOADS, REPORT)}  # in the order of their numbers
FORWARD = tuple(s.id for s in _WAY)  # the way into service
MEASURED = (NETPERF.id, OFFLOADS.id)  # of the guest in service
READ_ONLY = tuple(s.id for s in STEPS.values() if s.read_only)
ON_REQUEST = tuple(s.id for s in STEPS.values() if s.on_request)
APPROVED = tuple(s.id for s in STEPS.values() if s.approved)
