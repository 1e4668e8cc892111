"""A kernel is asked until it is heard, and for no longer."""

import asyncio
import queue
from typing import Any

import pytest

from hikkoshi.record.engine.kernel import Client


class Channel:
    """Gives what was put in, then nothing for as long as it is waited for."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.empty = 0

    async def get_msg(self, timeout: float) -> dict[str, Any]:
        if not self.waiting:
            self.empty += 1
            await asyncio.sleep(timeout)
            raise queue.Empty
        return self.waiting.pop(0)


class Asking(Client):
    """Its kernel answers each question, and is heard on the other channel from the question number `heard` on."""

    shell_channel, iopub_channel = None, None

    def __init__(self, *, heard: int, alive: bool = True) -> None:
        super().__init__()
        self.heard, self.lives, self.asked = heard, alive, 0
        self.shell_channel, self.iopub_channel = Channel(), Channel()

    def kernel_info(self) -> str:
        self.asked += 1
        if self.lives:
            content = {"protocol_version": "5.4"}
            self.shell_channel.waiting.append({"msg_type": "kernel_info_reply", "content": content})
        if self.asked >= self.heard:
            states = [{"content": {"execution_state": s}, "parent_header": {"msg_id": str(self.asked)}} for s in ("busy", "idle")]
            early = {"content": {"execution_state": "starting"}, "parent_header": {}}
            self.iopub_channel.waiting += [early, *states]
        return str(self.asked)

    async def is_alive(self) -> bool:
        return self.lives


def test_a_kernel_that_is_heard_is_ready_at_once() -> None:
    client = Asking(heard=1)
    asyncio.run(client.wait_for_ready(60))
    assert (client.asked, client.iopub_channel.empty) == (1, 0)


def test_a_kernel_whose_output_is_not_heard_yet_is_asked_again() -> None:
    client = Asking(heard=3)
    asyncio.run(client.wait_for_ready(60))
    assert (client.asked, client.iopub_channel.waiting) == (3, [])


def test_a_kernel_that_is_never_heard_is_given_up() -> None:
    with pytest.raises(RuntimeError, match=r"didn't respond in 0\.1 seconds"):
        asyncio.run(Asking(heard=99).wait_for_ready(0.1))


def test_a_kernel_that_has_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hikkoshi.record.engine.kernel.ANSWER", 0.01)
    with pytest.raises(RuntimeError, match="died before"):
        asyncio.run(Asking(heard=99, alive=False).wait_for_ready(60))
