"""The command that tells whose machines stand in vSphere, and takes one over: thin, like the rest of the command line."""

from typing import Annotated, Any

import typer

from hikkoshi.cli import completion, terminal
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import Problem, Refused


def machines(
    guest: Annotated[
        str, typer.Argument(metavar="[GUEST]", help="only those of this guest; default: all", autocompletion=completion.guests)
    ] = "",
    *,
    take: Annotated[
        str,
        typer.Option(metavar="ID", help="make this clone, machine of an earlier version, or unfinished one the guest's: vm-42"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Every machine in vSphere that carries marks of Hikkoshi, and whose it is; or take one over, which is journalled.

    Runbooks act on machines of this site folder only. One of another site folder is never taken over.
    """
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.run import lock  # noqa: PLC0415 - all imports here are late: --help and completion answer at once
    from hikkoshi.run.journal import Journal  # noqa: PLC0415
    from hikkoshi.vsphere import session, vm  # noqa: PLC0415

    home = Home.find()
    identity = home.identity()
    if take and not guest:
        raise Refused(
            Problem(code="no-guest-named", what="no guest is named", found=take, remedy=f"hikkoshi machines GUEST --take {take}")
        )
    found: list[tuple[str, vm.VirtualMachine]] = []
    if take:
        folder = home.folder(home.guest(guest).name)
        with session.connect(home, home.site(guest).vsphere) as v, lock.acquire(folder.lock, "hikkoshi machines --take", wait=0):
            by = vm.owner(home, "take", folder.lock)
            before = next((m for m in vm.marked(v, guest) if m.id == take), None)
            taken = vm.take(v, by, guest, take)
            told = {"machine": taken.name, "id": take, "before": before.marks if before else {}, "marks": taken.marks}
            Journal(folder.journal).append("take", server=v.where, **told)
    for vsphere in (s for s in home.site().servers() if not s.handover):
        with session.connect(home, vsphere) as v:
            found += [(vsphere.server, m) for m in vm.marked(v, guest)]
    found.sort(key=lambda pair: (pair[1].marks[vm.GUEST], pair[1].name, pair[1].id))
    if as_json:
        terminal.print_json({"site": identity, "machines": [_plain(server, m, vm.whose(m, identity)) for server, m in found]})
        return
    terminal.say(f"This site folder is {identity}.")
    terminal.table(
        [
            {
                "guest": m.marks[vm.GUEST],
                "vSphere": server,
                "machine": str(m),
                "whose": vm.told(m, identity),
                "state": m.power + ("" if vm.COMPLETE in m.marks else ", unfinished"),
                "NICs plugged in": f"{len(m.plugged)} of {len(m.nics)}",
                "in service since": m.marks.get(vm.SERVICE, "–"),
                "run": m.marks.get(vm.RUN, "–"),
                "plan": m.marks.get(vm.PLAN, "–")[:16],
            }
            for server, m in found
        ]
    )


def _plain(server: str, machine: Any, whose: str) -> dict[str, Any]:
    return {
        "server": server,
        "name": machine.name,
        "id": machine.id,
        "whose": whose,
        "power": machine.power,
        "nics": len(machine.nics),
        "plugged": sorted(machine.plugged),
        "instance_uuid": machine.uuid,
        "marks": machine.marks,
    }
