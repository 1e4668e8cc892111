"""What a session tells of a call that failed, and of a task that it waited for."""

import http.client
import ssl
from collections.abc import Sequence
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from hikkoshi.errors import HikkoshiError, VSphereError
from hikkoshi.secret.reference import Secret
from hikkoshi.vsphere import session

WHAT = "switch db01 on"
OTHER = ssl.SSLCertVerificationError(1, "its sha256 fingerprint is abc")
UNCLEAR = [OSError("gone"), http.client.HTTPException("503 Service Unavailable"), KeyError("odd"), TimeoutError("timed out")]


class Manager:
    """Lets in, unless there is an error to raise."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.logins = error, 0

    def Login(self, user: str, password: str) -> None:
        self.logins += 1
        if self.error:
            raise self.error


class Content:
    """What the server offers."""

    def __init__(self, manager: Manager) -> None:
        self.sessionManager = manager


class Told(session.Session):
    """A session that reads what it is told, one after the other, with no server."""

    def __init__(self, *answers: dict[str, Any] | Exception, login: Exception | None = None) -> None:
        self.host, self.port, self.patience, self.context = "vc", 443, 5.0, ssl.create_default_context()
        self._user, self._password = "u", Secret("p", "here")
        self.answers, self.content = list(answers), Content(Manager(login))

    def _read(self, thing: Any, paths: Sequence[str]) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def codes(error: HikkoshiError) -> list[str]:
    return [p.code for p in error.problems]


@pytest.mark.parametrize("error", [*UNCLEAR, vim.fault.InvalidState(), vim.fault.NoPermission()], ids=lambda e: type(e).__name__)
def test_where_the_look_at_a_task_fails_it_is_not_known_whether_it_was_done(error: Exception) -> None:
    with pytest.raises(VSphereError, match="no clear answer when it was asked to switch db01 on") as e:
        Told({"info.state": "running"}, error).wait(None, WHAT)
    (problem,) = e.value.problems
    assert problem.code == "vsphere-unanswered"
    assert problem.found.startswith("the task was begun, then ")
    assert problem.remedy in (session.TASK, session.advice(OSError()))


def test_only_the_task_itself_says_that_it_was_not_done() -> None:
    with pytest.raises(VSphereError, match="vSphere did not switch db01 on") as e:
        Told({"info.state": "error"}, {"info.error": vim.fault.InvalidState(msg="no")}).wait(None, WHAT)
    assert codes(e.value) == ["vsphere-refused"]


def test_a_session_that_ends_while_a_task_runs_is_opened_anew_and_the_task_looked_at_again() -> None:
    v = Told(vim.fault.NotAuthenticated(), {"info.state": "success"}, {"info.result": 7})
    assert v.wait(None, WHAT) == 7
    assert v.content.sessionManager.logins == 1


def test_where_it_cannot_be_opened_anew_both_are_told() -> None:
    with pytest.raises(VSphereError) as e:
        Told(vim.fault.NotAuthenticated(), login=vim.fault.InvalidLogin()).wait(None, WHAT)
    assert codes(e.value) == ["vsphere-unanswered", "vsphere-login-rejected"]


@pytest.mark.parametrize("error", UNCLEAR, ids=lambda e: type(e).__name__)
def test_a_call_without_a_clear_answer_may_have_been_done(error: Exception) -> None:
    with pytest.raises(VSphereError) as e, Told().asking(WHAT):
        raise error
    assert codes(e.value) == ["vsphere-unanswered"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (vim.fault.NoPermission(), "vsphere-refused"),
        (vmodl.fault.ManagedObjectNotFound(), "vsphere-refused"),
        (vim.fault.NotAuthenticated(), "vsphere-session-ended"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_call_that_got_a_fault_was_not_done(error: Exception, code: str) -> None:
    with pytest.raises(VSphereError) as e, Told().asking(WHAT):
        raise error
    assert codes(e.value) == [code]


def test_another_certificate_is_told_as_that_whenever_it_comes() -> None:
    def call() -> None:
        with Told().asking(WHAT):
            raise OTHER

    for act, expected in (
        (call, []),
        (lambda: Told(vim.fault.NotAuthenticated(), login=OTHER).read(None, "name"), []),
        (lambda: Told(OTHER).wait(None, WHAT), ["vsphere-unanswered"]),
    ):
        with pytest.raises(VSphereError) as e:
            act()
        assert codes(e.value) == [*expected, "vsphere-certificate-differs"]
        assert "fingerprint is abc" in e.value.problems[-1].found
        assert "own log" not in str(e.value)
