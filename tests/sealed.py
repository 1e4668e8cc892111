"""Records for tests to work on: a home whose runs are sealed, without a kernel; a time stamp service; what an auditor types."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.approval import approval, signature, statement
from hikkoshi.approval.signature import Namespace, Trust
from hikkoshi.params.home import Home
from hikkoshi.record import bag, instructions, seal
from hikkoshi.run.journal import Journal
from hikkoshi_lab import keys

PROJECT = Path(__file__).parents[1]
A, B, C = "20260101T000000Z-40-convert", "20260102T000000Z-50-rehearse", "20260103T000000Z-60-deploy"
TSA = """
[v3]
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/ca.pem
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
"""


@dataclass
class Service:
    """A time stamp service made of `openssl ts -reply`. `answer`, if set, is what it answers instead."""

    folder: Path
    url: str = ""
    answer: bytes | None = None
    status: int = 200

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        asked, given = self.folder / "query", self.folder / "reply"
        asked.write_bytes(query)
        tool.run(
            ["openssl", "ts", "-reply", "-config", self.folder / "tsa.cnf", "-queryfile", asked, "-out", given], cwd=self.folder
        )
        return given.read_bytes()

    def stamp(self, path: Path) -> bytes:
        """A token over a file, as if it had asked."""
        query = self.folder / "own-query"
        tool.run(["openssl", "ts", "-query", "-data", path, "-sha256", "-cert", "-out", query])
        return self.reply(query.read_bytes())


@contextlib.contextmanager
def time_stamp_service(folder: Path) -> Iterator[Service]:
    """A service that answers on the loopback interface as long as this lasts."""
    folder.mkdir()
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(TSA.format(folder=folder))
    for name, subject in (("ca", "/CN=authority"), ("tsa", "/CN=clock")):
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key"]
        if name == "ca":
            tool.run(["openssl", "req", "-x509", *new, "-subj", subject, "-days", "3650", "-out", folder / "ca.pem"])
        else:
            tool.run(["openssl", "req", "-new", *new, "-subj", subject, "-out", folder / "tsa.csr"])
            ca = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial"]
            extensions = ["-extfile", folder / "tsa.cnf", "-extensions", "v3"]
            signing = ["openssl", "x509", "-req", "-in", folder / "tsa.csr", *ca, *extensions, "-days", "3650"]
            tool.run([*signing, "-out", folder / "tsa.pem"])
    service = Service(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            body = service.reply(query) if service.answer is None else service.answer
            self.send_response(service.status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask_for_time(home: Home, service: Service) -> None:
    """Name the service in the site's parameters."""
    site = home.root / "params" / "site.yml"
    words = f"signing:\n  time_stamp: {service.url}\n  time_stamp_ca: {service.ca}"
    site.write_text(re.sub(r"^signing:.*$", words, site.read_text(), count=1, flags=re.M))


def ended(home: Home, guest: str, run: str, outcome: str = "succeeded") -> None:
    """A run as `execute` leaves it: lines in the journal, the executed notebook, some evidence."""
    folder, step = home.folder(guest), run.partition("-")[2]
    journal = Journal(folder / "journal.jsonl")
    journal.append("open", run=run, step=step, mode="apply", guest=guest)
    journal.append("outcome", run=run, step=step, mode="apply", outcome=outcome, error="")
    facts = {"run": run, "guest": guest, "step": step, "mode": "apply", "outcome": outcome}
    (folder / "runs").mkdir(exist_ok=True)
    cells = json.loads((PROJECT / "notebooks" / f"{step}.ipynb").read_text())["cells"]
    nb = {"cells": cells, "metadata": {"hikkoshi": facts}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "runs" / f"{run}.ipynb").write_text(json.dumps(nb))
    (folder / f"{step}.txt").write_text(f"what {run} saw\n")


PLAN = DISK = "0" * 64
MACHINE = "0" * 8


def approve(home: Home, of: str, name: str = "approval.txt", key: str = "approver", **other: object) -> None:
    """Have the lab's approver sign the guest's plan; `other` is what else the statement says."""
    site, now = home.site(), datetime.now(UTC).replace(microsecond=0)
    usual = statement.Statement(
        of,
        site.name,
        site.vsphere.server,
        PLAN,
        keys.APPROVER,
        now,
        now + timedelta(days=7),
        "the page\n",
        decisions="0" * 64,
        vmdk=DISK,
        machine=MACHINE,
    )
    path = approval.folder(home, of) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(replace(usual, **other).text())  # type: ignore[arg-type]
    signature.sign(path, keys.folder(home) / key, "approval")


def sealed_home(root: Path) -> Home:
    """A home with keys, a plan and its approval; a colleague may seal, a stranger may nothing."""
    shutil.copytree(PROJECT / "params", root / "params")
    home = Home(root)
    keys.make(home)
    for name in ("colleague", "stranger"):
        tool.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", keys.folder(home) / name])
    with (keys.folder(home) / "allowed_signers").open("a") as f:
        f.write(f'colleague@lab namespaces="evidence" {(keys.folder(home) / "colleague.pub").read_text()}')
    password = home.outputs / "lab" / "vcenter.password"
    files.write(password, "correct-horse-battery-staple\n")
    password.chmod(0o600)
    home.folder("gateway").mkdir(parents=True)
    (home.folder("gateway") / "plan.json").write_text('{"guest": "gateway"}\n')
    approve(home, "gateway")
    return home


def seal_all(home: Home, service: Service) -> None:
    """Three runs of the first guest and one of the second in turn, then the first one's whole story; B with a time stamp."""
    ended(home, "gateway", A)
    seal.of_run(home, "gateway", A)
    ended(home, "idp", A)
    seal.of_run(home, "idp", A)
    site = home.root / "params" / "site.yml"
    plain = site.read_text()
    ask_for_time(home, service)
    ended(home, "gateway", B, "failed")
    seal.of_run(home, "gateway", B)
    site.write_text(plain)
    ended(home, "gateway", C, "interrupted")
    seal.of_run(home, "gateway", C)
    report = home.outputs / "reports" / "gateway.html"
    report.parent.mkdir()
    report.write_text("<p>all is well</p>\n")
    seal.of_guest(home, "gateway")


def apart(notes: Iterable[str]) -> list[str]:
    """Notes without those that tell of the checkout in which the tests run: somebody may just be changing it."""
    return [n for n in notes if not n.startswith(("RUNBOOK ", "SOFTWARE "))]


def writable(root: Path) -> None:
    """What is sealed is read-only; whoever wants to change it has to say so first."""
    subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)


def commands(record: Path) -> list[str]:
    """The four commands for an auditor, as the record's own README.txt has them."""
    readme = (record / "README.txt").read_text()
    listed = readme[readme.index("\n1. ") :].partition("\nApprovals are")[0].partition("\nA time stamp")[0]
    blocks = re.split(r"^\d\. .*$", listed, flags=re.M)[1:]
    found = ["\n".join(line[4:] for line in block.splitlines() if line.startswith("    ")) for block in blocks]
    assert len(found) == 4
    return found


def shell(record: Path, trust: Trust) -> list[int]:
    """Numbers of the commands that do not end well, in a plain sh with nothing of ours."""
    env = {"PATH": os.defpath, "ALLOWED": str(trust.allowed), "REVOKED": str(trust.revoked or "")}
    bad = []
    for n, command in enumerate(commands(record), 1):
        done = subprocess.run(["sh", "-c", command], cwd=record, env=env, capture_output=True, check=False)
        bad += [n] if done.returncode else []
    return bad


def approvals_by_shell(record: Path, trust: Trust) -> subprocess.CompletedProcess[str]:
    """The record's own command for its approvals, exactly as its README.txt prints it."""
    readme = (record / "README.txt").read_text()
    block = readme.partition("\nApprovals are")[2].partition("\n\n")[2].partition("\n\n")[0]
    env = {"PATH": os.defpath, "ALLOWED": str(trust.allowed), "REVOKED": str(trust.revoked or "")}
    return subprocess.run(["sh", "-c", block], cwd=record, env=env, capture_output=True, text=True, check=False)


def found_by_shell(records: Path, trust: Trust) -> bool:
    """Whether an auditor who goes through all records with the four commands finds that something is wrong."""
    for record in sorted(p for p in records.glob("*/*") if p.is_dir()):
        if not (record / "README.txt").is_file() or shell(record, trust):
            return True
    return False


def list_again(record: Path, **info: str) -> None:
    """Write both manifests anew for what is in the record now; `info` changes bag-info.txt (Sealed_By=… is Sealed-By)."""
    text = (record / bag.INFO).read_text()
    for label, value in info.items():
        text = re.sub(rf"^{label.replace('_', '-')}: .*$", f"{label.replace('_', '-')}: {value}", text, flags=re.M)
    (record / bag.INFO).write_text(text)
    there = {p.relative_to(record).as_posix(): p for p in record.rglob("*") if p.is_file()}
    payload = {n: files.sha256(p) for n, p in there.items() if n.startswith("data/")}
    size = sum(there[n].stat().st_size for n in payload)
    if "Payload_Oxum" not in info:
        (record / bag.INFO).write_text(re.sub(r"Payload-Oxum: .*", f"Payload-Oxum: {size}.{len(payload)}", text))
    (record / bag.MANIFEST).write_text(bag.manifest(payload))
    outside = (bag.TAG_MANIFEST, instructions.SIGNATURE, instructions.TOKEN)
    tags = {n: files.sha256(p) for n, p in there.items() if n not in payload and n not in outside}
    (record / bag.TAG_MANIFEST).write_text(bag.manifest(tags))


def sign_again(record: Path, key: Path, namespace: Namespace = "evidence") -> None:
    """Sign the record as it is now; what a holder of the key can do to his own records."""
    (record / instructions.TOKEN).unlink(missing_ok=True)
    signature.sign(record / bag.TAG_MANIFEST, key, namespace)
