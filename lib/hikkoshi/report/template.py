"""The templates of pages in this folder: words by the catalogue of a language, every value escaped, nothing left undefined."""

import functools
import html
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from hikkoshi.report.language import translations, utc


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
    environment.filters["diff"] = _diff
    environment.filters["utc"] = utc
    environment.filters["minute"] = _minute
    return environment.get_template(name)


def _diff(unified: str) -> Markup:
    """A unified diff as HTML: signs stay, colours only repeat what they say."""
    kinds = {"+": "ins", "-": "del"}
    lines = []
    for line in unified.splitlines():
        kind, words = kinds.get(line[:1]), html.escape(line)
        lines.append(f"<{kind}>{words}</{kind}>" if kind and not line.startswith(("+++", "---")) else words)
    return Markup("\n".join(lines))


def _minute(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
