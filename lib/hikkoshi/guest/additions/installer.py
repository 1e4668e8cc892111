"""Brings files into a guest's copy, and runs there what has to be run: a part of the worker, which loads it by its path.

Nothing but the standard library here: the worker runs in the system's own Python, of 3.6 as well.
"""

# mypy: ignore-errors

import re

SECRET = re.compile(rb"HIKKOSHI-SECRET-\d{4}")
HIDDEN = "‹not kept›".encode()
TAIL = 32 << 10  # bytes of an output that are kept
SHORTEST = 4  # bytes: a shorter value is no secret, and may stand anywhere
POLICY = "/usr/sbin/policy-rc.d"  # of Debian's packages: whether a service may be started
ASIDE = POLICY + ".hikkoshi"
DENIED = b"#!/bin/sh\n# there while a copy of this guest is prepared: no service is started\nexit 101\n"
RUN = """\
PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive
export PATH HOME LC_ALL DEBIAN_FRONTEND
cd /
out=$1
shift
"$@" >"$out" 2>&1 </dev/null
echo $?
"""


def bring(g, job, own, tell):
    """Do what `job["additions"]` says; gives what ran, and facts about the first that failed, None where all went well.

    The guest's services are not started meanwhile. `own` knows the guest's secrets, of which none is in what is given back.
    """
    wanted, ran = job["additions"], []
    for path in (path for pattern in wanted["stale"] for path in g.glob_expand(pattern)):
        g.rm_rf(path)
    for file in wanted["files"]:
        g.mkdir_p(file["to"].rpartition("/")[0])
        g.upload(file["from"], file["to"])
        g.chmod(file["mode"], file["to"])
    if wanted["runs"]:
        output = wanted["folder"] + "/output"
        denied(g)
        for run in wanted["runs"]:
            tell("in the guest: " + run["name"])
            status = int(g.command(["/bin/sh", "-c", RUN, "sh", output, *run["argv"]]).split()[-1])
            size = g.filesize(output)
            text = g.pread(output, min(size, TAIL), max(size - TAIL, 0)) if size else b""
            ran.append({"kind": run["kind"], "name": run["name"], "status": status, "output": hidden(own, text)})
            if status:
                break
        g.rm_f(output)
        allowed(g)
        if ran[-1]["status"]:
            last = "\n".join(ran[-1]["output"].strip().splitlines()[-12:]) or "(it printed nothing)"
            return ran, {"kind": ran[-1]["kind"], "path": ran[-1]["name"], "found": f"exit status {ran[-1]['status']}: {last}"}
    for path in wanted["gone"]:
        g.rm_rf(path)
    return ran, None


def denied(g):
    """Have Debian's packages start no service; what the guest has there itself, a link too, is put aside."""
    if g.is_dir("/etc/dpkg"):
        if g.is_file(POLICY) or g.is_symlink(POLICY):
            g.mv(POLICY, ASIDE)
        g.write(POLICY, DENIED)
        g.chmod(0o755, POLICY)


def allowed(g):
    """Put back what was there."""
    if g.is_dir("/etc/dpkg"):
        g.rm_f(POLICY)
        if g.is_file(ASIDE) or g.is_symlink(ASIDE):
            g.mv(ASIDE, POLICY)


def hidden(own, output):
    """An output as a text without the guest's secrets, nor anything that looks like one."""
    try:
        text = type(own)().redact(own.OUTPUT, output)
    except ValueError:
        return "(it printed more passwords than anybody has)"
    for value in sorted(own.tokens, key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    return SECRET.sub(HIDDEN, text).decode("utf-8", "replace")
