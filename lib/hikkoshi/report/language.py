"""The language of reports and tables: English as it stands in the code, any other from a catalogue of gettext (locale/ja.po).

A check is named there by its code, as its own words hold what differs from guest to guest.
"""

import functools
import gettext
from datetime import UTC, datetime
from pathlib import Path

from hikkoshi import translation
from hikkoshi.translation import Gettext

LOCALE = Path(__file__).parent / "locale"


@functools.cache
def translations(lang: str) -> gettext.NullTranslations:
    """The catalogue of a language as `lang` in params/site.yml names it; English needs none."""
    return gettext.NullTranslations() if lang == "en" else translation.of((LOCALE / f"{lang}.po").read_bytes())


def said(words: str, lang: str) -> str:
    """Words in a language, where its catalogue has them, else as they are."""
    return translations(lang).gettext(words) if words else ""


def of_check(code: str, lang: str) -> str:
    """What a check looks at, in a language; empty in English, which it tells itself, and for a code that is not known."""
    words = translations(lang).pgettext("check", code)
    return "" if words == code else words


def spoken(lang: str) -> tuple[Gettext, Gettext]:
    """What puts words into a language, and what says in it what a check looks at."""
    return translations(lang).gettext, functools.partial(of_check, lang=lang)


def utc(time: datetime | str) -> str:
    """A time to the second, which is the same in every language; text as in ISO 8601."""
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def state(word: str, _: Gettext) -> str:
    """The word for the state of a run, an action or a check."""
    words = {
        "done": _("done"),
        "already": _("already so"),
        "would": _("would be done"),
        "failed": _("failed"),
        "interrupted": _("interrupted"),
        "ok": _("ok"),
        "later": _("later"),
        "red": _("not ok"),
        "not seen": _("not seen"),
        "not measured": _("not measured"),
        "not needed": _("not needed"),
        "not done": _("not done"),
        "lowered": _("lowered"),
    }
    return words.get(word, word)
