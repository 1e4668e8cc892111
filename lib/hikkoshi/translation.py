"""Another language than English: a catalogue of gettext, as the PO files of the package are."""

import functools
import gettext
from collections.abc import Callable
from io import BytesIO

Gettext = Callable[[str], str]


@functools.cache
def of(catalogue: bytes) -> gettext.GNUTranslations:
    """What a PO file says. A message that it does not have stays as it is."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415 - a site in English needs none of it
    from babel.messages.pofile import read_po  # noqa: PLC0415

    compiled = BytesIO()
    write_mo(compiled, read_po(BytesIO(catalogue)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
