"""A session with vCenter or an ESXi host: connecting, reading properties, waiting for tasks, and errors that can be read.

Properties are read by leaf path ("runtime.powerState", never "runtime"): one round trip for many objects, and servers
differ in whether pyVmomi understands their whole structures. Everything has a time-out.
"""

import atexit
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from pyVmomi import SoapStubAdapter, vim, vmodl
from pyVmomi.VmomiSupport import versionIdMap

from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, VSphereError
from hikkoshi.params.home import Home
from hikkoshi.params.site import VSphere
from hikkoshi.secret.reference import Secret
from hikkoshi.vsphere import tls

PAGE = 500  # objects per answer
ANSWER = 60.0  # seconds that every single answer may take, where nobody says another number
ODD = (KeyError, AttributeError, TypeError, ValueError, LookupError, ExpatError)  # what pyVmomi does with odd answers
RAISED = (vmodl.MethodFault, http.client.HTTPException, OSError, *ODD)  # what it raises at all
TASK = "look at the task in the vSphere client; run the step again when it has ended"
_T = TypeVar("_T")
Properties = dict[str, Any]  # {path: value}; a path that the object lacks is missing


class Session:
    """An open session; a context manager. Made by `connect`."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, *, user: str, password: Secret, timeout: float) -> None:
        self.host, self.port, self.context, self.timeout = host, port, context, timeout
        self.patience = 600.0  # seconds that a task may take
        self._user, self._password = user, password
        self._stub = SoapStubAdapter(
            host=host, port=port, path="/sdk", version=_api_version(self), sslContext=context, httpConnectionTimeout=timeout
        )
        try:
            with self.asking("log in"):
                self.content: Any = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
            self._login()
        except BaseException:
            self._stub.DropConnections()
            raise
        atexit.register(self.close)

    @property
    def where(self) -> str:
        """The server, for messages."""
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __str__(self) -> str:
        about = self.content.about
        return f"{about.fullName}, API {about.apiVersion}, at {self.where} as {self._user}"

    def close(self) -> None:
        """Log out; a server that is gone has forgotten us anyway."""
        atexit.unregister(self.close)
        with contextlib.suppress(Exception):
            self.content.sessionManager.Logout()
        self._stub.DropConnections()

    def collect(self, kind: str, paths: Sequence[str], root: Any = None) -> dict[Any, Properties]:
        """{object: properties} of all objects of a type ("VirtualMachine") below `root`, by default everywhere."""
        with self.asking(f"list every {kind}"):
            return self._again(lambda: self._collect(getattr(vim, kind), list(paths), root or self.content.rootFolder))

    def read(self, thing: Any, *paths: str) -> Properties:
        """The properties of one object."""
        with self.asking(f"read {', '.join(paths)}"):
            return self._again(lambda: self._read(thing, list(paths)))

    @contextlib.contextmanager
    def asking(self, what: str, remedy: str = "") -> Iterator[None]:
        """Turn whatever pyVmomi raises into a `VSphereError` that says what we wanted."""
        try:
            yield
        except RAISED as e:
            raise VSphereError(_told(self, e, what, remedy or advice(e))) from e

    def wait(self, task: Any, what: str) -> Any:
        """Wait for a task and return its result; at most the session's `patience`.

        Only the task itself says that it failed. What else goes wrong here leaves open whether it did.
        """
        deadline, pause = time.monotonic() + self.patience, 0.05
        while True:
            with self._watching(what):
                state = self._again(lambda: self._read(task, ["info.state"])).get("info.state")
            if state == "success":
                return self.read(task, "info.result").get("info.result")
            if state == "error":
                with self.asking(what):
                    raise self._again(lambda: self._read(task, ["info.error"]))["info.error"]
            if time.monotonic() > deadline:
                raise VSphereError(
                    Problem(
                        code="vsphere-timed-out",
                        what=f"vSphere did not {what} in time",
                        where=self.where,
                        found=f"the task is {state} after {self.patience:g} s",
                        remedy=TASK,
                    )
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 2)

    @contextlib.contextmanager
    def _watching(self, what: str) -> Iterator[None]:
        """Turn whatever fails while a task is under way into a `VSphereError` that says so."""
        try:
            yield
        except RAISED as e:
            more = (_another(self, e),) if isinstance(e, ssl.SSLCertVerificationError) else ()
            remedy = advice(e) if isinstance(e, OSError | http.client.HTTPException) else TASK
            raise VSphereError(_unclear(self, what, f"the task was begun, then {describe(e)}", remedy), *more) from e
        except HikkoshiError as e:  # of the login that was necessary
            ended = _unclear(self, what, "the task was begun, then our session ended", TASK)
            raise VSphereError(ended, *e.problems) from e

    def _login(self) -> None:
        try:
            self.content.sessionManager.Login(self._user, self._password.reveal())
        except vim.fault.InvalidLogin:
            raise BadInput(
                Problem(
                    code="vsphere-login-rejected",
                    what="vSphere does not accept user and password",
                    where=self.where,
                    found=f"user {self._user}, password {self._password}",
                    remedy="correct `user` in params/site.yml, or the secret that `password` points to",
                )
            ) from None
        except ssl.SSLCertVerificationError as e:
            raise VSphereError(_another(self, e)) from e
        except RAISED as e:
            raise VSphereError(
                Problem(
                    code="vsphere-login-failed",
                    what="vSphere did not log in",
                    where=self.where,
                    found=describe(e),
                    remedy=advice(e),
                )
            ) from e

    def _again(self, ask: Callable[[], _T]) -> _T:
        """A read is safe to repeat: once more after a login, where the session has ended meanwhile."""
        try:
            return ask()
        except vim.fault.NotAuthenticated:
            self._login()
            return ask()

    def _collect(self, kind: Any, paths: list[str], root: Any) -> dict[Any, Properties]:
        view = self.content.viewManager.CreateContainerView(root, [kind], True)
        try:
            skip = vmodl.query.PropertyCollector.TraversalSpec(name="view", path="view", skip=False, type=type(view))
            start = vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[skip])
            return self._retrieve(start, kind, paths)
        finally:
            with contextlib.suppress(*RAISED):
                view.DestroyView()

    def _read(self, thing: Any, paths: list[str]) -> Properties:
        start = vmodl.query.PropertyCollector.ObjectSpec(obj=thing)
        found = self._retrieve(start, type(thing), paths)
        return next(iter(found.values()), {})

    def _retrieve(self, start: Any, kind: Any, paths: list[str]) -> dict[Any, Properties]:
        collector = self.content.propertyCollector
        wanted = vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=paths, all=False)
        asked = vmodl.query.PropertyCollector.FilterSpec(objectSet=[start], propSet=[wanted])
        page = collector.RetrievePropertiesEx([asked], vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE))
        found: dict[Any, Properties] = {}
        while page:
            for lacking in (m.fault for o in page.objects for m in o.missingSet or ()):
                if isinstance(lacking, vim.fault.NotAuthenticated):
                    raise lacking  # the session has ended; what looks like nothing is not known
            found |= {o.obj: {p.name: p.val for p in o.propSet} for o in page.objects}
            page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        return found


def connect(home: Home, site: VSphere, timeout: float = 0) -> Session:
    """Open a session with the server of params/site.yml; `timeout` in seconds bounds every single answer; 0: `ANSWER`.

    A server that is not the one expected and a wrong password are `BadInput`; one that does not answer, `VSphereError`; a
    contractor's is `Refused`.
    """
    if site.handover:
        raise Refused(
            Problem(
                code="vsphere-of-contractor",
                what="nobody logs in to this vSphere from here",
                where="params/site.yml: vsphere.handover",
                found=f"it is run by {site.contractor}",
                expected="a vSphere with an account for you",
                remedy=f"ask {site.contractor} for what has to be known or done there",
            )
        )
    host, _, port = site.server.partition(":")
    context = tls.PinnedContext(site.sha256) if site.sha256 else tls.ca_context(home.path(site.ca))  # type: ignore[arg-type]
    password = home.secret(site.password)
    return Session(host, int(port or 443), context, user=site.user, password=password, timeout=timeout or ANSWER)


def describe(error: BaseException) -> str:
    """What a server or connection said, in one line: the kind of fault, its words, and the fields that tell more."""
    if isinstance(error, vmodl.MethodFault):
        fields = [f"{p.name}={getattr(error, p.name)}" for p in error._GetPropertyList(includeBaseClassProps=False)]
        words = [str(error.msg or ""), *(str(m.message) for m in error.faultMessage or ()), ", ".join(fields)]
        return f"{type(error).__name__.removeprefix('vim.fault.')}: " + "; ".join(w for w in words if w)
    if _odd(error):
        return f"an answer that pyVmomi does not understand ({type(error).__name__}: {error})"
    return f"{type(error).__name__}: {error}"


def _odd(error: BaseException) -> bool:
    """Whether it tells of an odd answer; a wrong certificate is a ValueError, too."""
    return isinstance(error, ODD) and not isinstance(error, OSError)


def advice(error: BaseException) -> str:
    """What to do about it, as far as the kind of error tells."""
    if isinstance(error, vim.fault.NotAuthenticated):  # to the API a kind of NoPermission
        return "run the step again: it logs in anew, and looks first at what was done"
    if isinstance(error, vim.fault.NoPermission):
        return "give the user the privilege named above, on the object named above"
    if isinstance(error, vmodl.MethodFault):
        return "the fault names the cause; correct it in vSphere or in the parameters, then run the step again"
    if _odd(error):
        return "look at the server's own log for this moment; run the step again"
    return "see whether the server runs and can be reached from here, then run the step again: it looks first at what was done"


def _told(v: Session, error: BaseException, what: str, remedy: str) -> Problem:
    """What is known of a call that failed: a fault says that it was not done; without a clear answer it may have been."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _another(v, error)
    found = describe(error)
    if isinstance(error, vim.fault.NotAuthenticated):
        ended = f"our session had ended when vSphere was asked to {what}"
        return Problem(code="vsphere-session-ended", what=ended, where=v.where, found=found, remedy=remedy)
    if isinstance(error, vmodl.MethodFault):
        return Problem(code="vsphere-refused", what=f"vSphere did not {what}", where=v.where, found=found, remedy=remedy)
    return _unclear(v, what, found, remedy)


def _unclear(v: Session, what: str, found: str, remedy: str) -> Problem:
    """It may have been done, or not."""
    unclear = f"vSphere gave no clear answer when it was asked to {what}"
    return Problem(code="vsphere-unanswered", what=unclear, where=v.where, found=found, remedy=remedy)


def _another(v: Session, error: ssl.SSLCertVerificationError) -> Problem:
    """Nothing was asked of a server that is another one."""
    return Problem(
        code="vsphere-certificate-differs",
        what="the vSphere server's certificate is not the expected one",
        where=v.where,
        found=error.verify_message if getattr(error, "verify_message", "") else str(error),
        expected=f"the fingerprint {v.context.pin}"
        if isinstance(v.context, tls.PinnedContext)
        else "signed by `ca`, for this name",
        remedy="make sure that this is the right server, then correct `ca`, `sha256` or `server` in params/site.yml",
    )


def _api_version(v: Session) -> str:
    """The newest version of the API that both sides know; this is also where the server is met for the first time."""
    connection = http.client.HTTPSConnection(v.host, v.port, context=v.context, timeout=min(v.timeout, 20))
    try:
        connection.request("GET", "/sdk/vimServiceVersions.xml")
        answer = connection.getresponse()
        body = answer.read(1 << 20)  # bytes; the true one has 5,000
        if answer.status >= 500:  # what stands in front of a vCenter that is still starting
            raise http.client.HTTPException(f"{answer.status} {answer.reason}")
        offered = {e.text for e in ElementTree.fromstring(body).iter("version")} if answer.status == 200 else set()
    except ssl.SSLCertVerificationError as e:
        raise BadInput(_another(v, e)) from None
    except socket.gaierror as e:
        raise BadInput(
            Problem(
                code="vsphere-name-unknown",
                what="the vSphere server's name is unknown",
                where=v.where,
                found=str(e),
                remedy="correct `server` in params/site.yml",
            )
        ) from None
    except (OSError, http.client.HTTPException) as e:
        raise VSphereError(
            Problem(
                code="vsphere-unreachable",
                what="the vSphere server cannot be reached",
                where=v.where,
                found=describe(e),
                expected="an answer of its API",
                remedy="correct `server` in params/site.yml, or start the server (the lab's: hikkoshi lab up); one that answers "
                "503 may be starting: try again in some minutes",
            )
        ) from None
    except ElementTree.ParseError:
        offered = set()
    finally:
        connection.close()
    for version in sorted((k for k in versionIdMap if k.startswith("vim.version.")), key=_age, reverse=True):
        if versionIdMap[version] in offered and _age(version) >= (5, 5):
            return str(version)
    raise BadInput(
        Problem(
            code="vsphere-version-unknown",
            what="the server is not a vSphere that this program knows",
            where=v.where,
            found=f"HTTP status {answer.status}, API versions: {', '.join(sorted(filter(None, offered))) or 'none'}",
            expected="vCenter or ESXi 5.5 or later",
            remedy="correct `server` in params/site.yml",
        )
    )


def _age(version: str) -> tuple[int, ...]:
    """(8, 0, 2, 0) for vim.version.v8_0_2_0; () for one whose number says nothing."""
    parts = str(versionIdMap[version]).split(".")
    return tuple(map(int, parts)) if all(p.isdigit() for p in parts) else ()
