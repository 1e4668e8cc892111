"""Whoever is to know is told by a program of the site's own: that a guest failed, that a hold point is reached, the end."""

import json
from typing import Any, Literal

from hikkoshi import tool
from hikkoshi.errors import HikkoshiError
from hikkoshi.params.home import Home
from hikkoshi.params.site import Notify

SECONDS = 30.0  # that it has
Event = Literal["failure", "hold", "end"]


def send(home: Home, notify: Notify | None, event: Event, **facts: Any) -> str:
    """Start the program with a document on its stdin; why nobody could be told, or nothing. It never fails a run."""
    if notify is None:
        return ""
    program, *arguments = notify.command
    argv = [str(home.path(home.root / program)) if "/" in program else program, *arguments]
    document = json.dumps({"event": event, "site": str(home.root), **facts}, ensure_ascii=False)
    try:
        tool.run(argv, stdin=document, timeout=SECONDS, cwd=home.root)
    except (HikkoshiError, OSError) as e:
        return f"nobody was told of it: {str(e).splitlines()[0]}"
    return ""
