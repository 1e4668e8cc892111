"""Executing notebooks and keeping what they leave: the honest engine, secrets, the sealed record."""

import sys

# Every program that reads notebooks builds, by way of jsonschema, a grammar for a format that notebooks do not have: 1.5 s
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
