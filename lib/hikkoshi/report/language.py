"""The language of reports: English as it stands in the code, any other from a catalogue of gettext (locale/ja.po)."""

import functools
import gettext
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Gettext = Callable[[str], str]

LOCALE = Path(__file__).parent / "locale"


@functools.cache
def translations(lang: str) -> gettext.NullTranslations:
    """The catalogue of a language as `lang` in params/site.yml names it; English needs none."""
    if lang == "en":
        return gettext.NullTranslations()
    with (LOCALE / f"{lang}.po").open("rb") as f:
        catalogue = read_po(f, locale=lang)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
