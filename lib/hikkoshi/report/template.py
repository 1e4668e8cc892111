"""The templates of pages in this folder: words by the catalogue of a language, every value escaped, nothing left undefined."""

import functools
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from hikkoshi.report import appendix
from hikkoshi.report.language import translations


@functools.cache
def of(name: str, lang: str) -> jinja2.Template:
    """The template of this name in one language."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(lang), newstyle=True)  # type: ignore[attr-defined]
    environment.policies["ext.i18n.trimmed"] = True
    environment.filters["diff"] = appendix.diff
    environment.filters["utc"] = _utc
    environment.filters["minute"] = _minute
    return environment.get_template(name)


def _utc(time: datetime | str) -> str:
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _minute(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
