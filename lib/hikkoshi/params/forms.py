"""The forms of single values in parameter files: names, addresses, references to secrets."""

import re
from typing import Annotated

from pydantic import Field, Strict, StringConstraints

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
NAME_WORDS = "a name that begins with a letter or digit, of letters, digits, dots, _ and -, at most 63"
TAKEN = ("register.tsv",)  # stands among the guests' folders in outputs/records
Name = Annotated[str, StringConstraints(pattern=NAME), Field(description=NAME_WORDS)]


def can_be_guest(name: str) -> bool:
    """Whether a guest may have this name: it becomes the name of folders and files."""
    return bool(re.fullmatch(NAME.strip("^$"), name, re.ASCII)) and name.lower() not in TAKEN


def not_taken(name: str) -> str:
    """The same name; `ValueError` where a file of the records has it."""
    if not can_be_guest(name):
        raise ValueError(f"another name: {name} is a file of the records")
    return name


Whole = Annotated[int, Strict()]  # true is none, and neither is a number in quotes
Mac = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"),
    Field(description="MAC address: six pairs of hexadecimal digits, with colons", examples=["00:16:3e:05:00:0a"]),
]
SecretRef = Annotated[str, StringConstraints(pattern=r"^(env|file|keyring):.+$")]
Address = Annotated[
    str,
    StringConstraints(pattern=r"^(here|netns:.+|ssh://.+)$"),
    Field(examples=["here", "ssh://root@gateway", "netns:outputs/lab/netns/gw"]),
]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")]
