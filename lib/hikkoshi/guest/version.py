"""Kernel versions in order."""

import re


def order(version: str) -> list[tuple[int, int, str]]:
    """A sort key, as rpm compares versions: numbers by value and above letters."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[A-Za-z]+", version)]
