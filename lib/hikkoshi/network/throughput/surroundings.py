"""What a terminal, a shell, ssh or time(1) puts around the output of a tool that measures, and a copy of it may hold.

Only what is known to be of these is taken out, above and below; anything else is left for the tool's own reader to refuse.
"""

import re

from hikkoshi.network.throughput.units import Remark

REMARK = Remark(code="output-surrounded", remark="lines of a terminal, a shell or ssh around the output; the figure stands")
_PROMPT = r"(?:\[[^\]\n]{1,80}\]|[\w.@:~/+-]{0,80}) ?[$#%>]"
_ABOVE = re.compile(
    rf"(?:[ \t]*\n|{_PROMPT} [^\n]*\b(?:netperf|iperf3)\b[^\n]*\n"
    r"|Warning: Permanently added [^\n]*\n"
    r"|\*\* (?:WARNING: connection is not using|This session may be|The server may need)[^\n]*\n"
    r"|Pseudo-terminal will not be allocated[^\n]*\n|[\w/.-]{1,40}: (?:line \d+: )?warning: setlocale: [^\n]*\n"
    r"|Warning: remote host [^\n]*\n|X11 forwarding request failed[^\n]*\n)"
)
_BELOW = re.compile(
    rf"\n(?:\n*(?:{_PROMPT} ?(?:exit)?\n?|real\s+[\dm.,]+s?\nuser\s+[\dm.,]+s?\nsys\s+[\dm.,]+s?\n?"
    r"|[\d.,]+user [\d.,]+system [^\n]*elapsed[^\n]*\n[^\n]*pagefaults[^\n]*swaps\n?|Connection to [^\n]* closed\.\n?))\Z"
)


def taken_out(text: str) -> tuple[str, tuple[Remark, ...]]:
    """An output without what stands around it, and a remark for what that says, if it is more than blank lines."""
    inner, said = text.removeprefix("\ufeff").replace("\r\n", "\n"), []
    while found := _ABOVE.match(inner):
        inner = inner[found.end() :]
        said.append(found[0].strip())
    while len(inner) < 1 << 20 and (found := _BELOW.search(inner)):
        inner = inner[: found.start()] + "\n"
        said.append(found[0].strip())
    told = "\n".join(filter(None, said))
    return (inner, (REMARK.of(told),) if told else ()) if inner.strip() else (text, ())
