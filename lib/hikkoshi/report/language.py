"""The language of reports: English as it stands in the code, any other from a catalogue of gettext (locale/ja.po)."""

import functools
import gettext
from pathlib import Path

from hikkoshi import translation

LOCALE = Path(__file__).parent / "locale"


@functools.cache
def translations(lang: str) -> gettext.NullTranslations:
    """The catalogue of a language as `lang` in params/site.yml names it; English needs none."""
    return gettext.NullTranslations() if lang == "en" else translation.of((LOCALE / f"{lang}.po").read_bytes())
