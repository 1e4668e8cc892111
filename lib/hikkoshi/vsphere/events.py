"""What vSphere's events tell of a machine's past. A vCenter keeps them for some weeks, an ESXi host until it starts again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pyVmomi import vim

from hikkoshi.errors import VSphereError
from hikkoshi.vsphere.session import Session

ON = ("VmPoweredOnEvent", "DrsVmPoweredOnEvent")
MADE = ("VmBeingCreatedEvent", "VmCreatedEvent", "VmBeingDeployedEvent", "VmDeployedEvent")
CLOCKS = timedelta(minutes=10)  # that the server's clock and ours may differ by


def switched_on(v: Session, machine: Any, made: str) -> str:
    """When a machine was first switched on, or why nobody knows; '' where its events begin with its making and have none.

    `made`: by when it was, UTC. One that was registered anew since is another to vSphere, which knows nothing of its past.
    """
    try:
        if told := _events(v, machine, ON):
            return f"it was switched on at {told[-1].createdTime.isoformat(timespec='seconds')}"
        if any(e.createdTime <= datetime.fromisoformat(made) + CLOCKS for e in _events(v, machine, MADE)):
            return ""
        first = min((e.createdTime for e in _events(v, machine)), default=None)
    except VSphereError as e:
        return f"vSphere does not tell whether it was ever switched on: {e.problems[0].found}"
    except (ValueError, TypeError):
        return f"its mark of completeness is no time that we wrote: {made}"
    begin = f"begin at {first.isoformat(timespec='seconds')}" if first else "are gone"
    return f"whether it was ever switched on is not seen: it was made by {made}, vSphere's events of it {begin}"


def _events(v: Session, machine: Any, types: Sequence[str] = ()) -> list[Any]:
    of = vim.event.EventFilterSpec.ByEntity(entity=machine, recursion="self")
    asked = vim.event.EventFilterSpec(entity=of, eventTypeId=list(types) or None)
    with v.asking("tell whether it was ever switched on"):
        return list(v.content.eventManager.QueryEvents(asked) or ())
