"""How a kernel is greeted and seen off: as jupyter_client does it, without waits of a fixed length."""

import math
import queue
import time

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

ANSWER, LINK = 1.0, 0.05  # seconds after which it is asked again: where it does not answer; where we do not hear its output yet
OFTEN = 0.01  # seconds between two looks at whether it has ended


class Client(AsyncKernelClient):  # type: ignore[misc]
    """Is ready once it has heard the end of an answer, where the output comes, too: all that was sent before has come then."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Ask until both channels have answered; `timeout` in seconds. `RuntimeError` where the kernel dies, or is too late."""
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while time.monotonic() < end:
            asked = self.kernel_info()
            try:
                reply = await self.shell_channel.get_msg(timeout=ANSWER)
                if reply["msg_type"] == "kernel_info_reply":
                    self._handle_kernel_info_reply(reply)
                while True:
                    message = await self.iopub_channel.get_msg(timeout=LINK)
                    if message["content"].get("execution_state") == "idle" and message["parent_header"].get("msg_id") == asked:
                        return
            except queue.Empty:
                if not await self.is_alive():
                    raise RuntimeError("Kernel died before replying to kernel_info") from None
        raise RuntimeError(f"Kernel didn't respond in {timeout} seconds")


class Manager(AsyncKernelManager):  # type: ignore[misc]
    """Sees its end when it comes, and not up to 0.1 s later."""

    def __init__(self, **options: object) -> None:
        super().__init__(client_factory=Client, **options)

    async def _async_wait(self, pollinterval: float = OFTEN) -> None:
        await super()._async_wait(OFTEN)
