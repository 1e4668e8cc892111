"""The report: everything about one guest on one page that needs nothing but a browser, now and in ten years."""

import re
from datetime import UTC, datetime
from pathlib import Path

from hikkoshi import files
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.guest import preparation
from hikkoshi.params.home import Home
from hikkoshi.report import appendix, decisions, page, pdf, pictures, template
from hikkoshi.report.language import of_check, said, state, translations
from hikkoshi.report.openpoints import notes, open_points
from hikkoshi.report.standing import moved, rehearsed
from hikkoshi.report.story import Story, gather, sources, to_tell
from hikkoshi.run.group import groups
from hikkoshi.run.journal import Journal
from hikkoshi.run.status import runs
from hikkoshi.run.step import PLAN, READ_ONLY, REPORT, SURVEY
from hikkoshi.secret.masking import Mask
from hikkoshi.translation import Gettext

TEMPLATE = "report.html.j2"


def path(home: Home, guest: str) -> Path:
    """Where a guest's report is."""
    return home.report(guest)


def write(home: Home, guest: str) -> Path:
    """Write the report from what is known now, finished or not; returns its path. An older report's PDF is removed.

    It is in the site's language, `lang` in params/site.yml.
    """
    mask = Mask(home.secrets())
    story = gather(home, guest)
    lang = home.site().lang
    _ = translations(lang).gettext
    text = template.of(TEMPLATE, lang).render(
        lang=lang,
        read_only=READ_ONLY,
        SURVEY=SURVEY,
        PLAN=PLAN,
        REPORT=REPORT,
        story=story,
        made=datetime.now(UTC),
        page=page.first(story, _),
        open_points=list(open_points(story, _)),
        notes=notes(story, _),
        rehearsed=rehearsed(story),
        tried=moved(story) is not None,
        screens=list(pictures.screens(story, _)),
        outage=pictures.outages(story.outage, _) if story.outage else None,
        throughput=list(pictures.throughput(story, _)),
        nics=list(appendix.nics(story, _)),
        measured=list(appendix.measurements(story, _)),
        facts=list(appendix.facts(story, _)),
        changes=list(page.changes(story, _)),
        diffs=_diffs(story, _),
        steps=[(step, list(appendix.outputs(step.record))) for step in story.steps],
        versions=list(appendix.versions(story, _)),
        manifest=" ".join([*(s.sha256 for s in story.sources), *story.told]),
        state=lambda word: state(word, _),
        said=lambda words: said(words, lang),
        of_check=lambda code: of_check(code, lang),
        groups=lambda told: groups(list({(c.code, c.title, c.found): c for c in told}.values())),  # each as often as it differs
    )
    written = path(home, guest)
    pdf.path(written).unlink(missing_ok=True)  # of an older report
    files.write(written, mask.text(text))
    return written


def complete(home: Home, guest: str) -> Check:
    """Whether the report is there and tells of every result and run as they are now, by hash and name."""
    folder, report = home.folder(guest), path(home, guest)
    entries = Journal(folder.journal).entries()
    wanted = {s.sha256: s.name for s in sources(folder)} | {r.id: r.id for r in to_tell(runs(entries)).values()}
    wanted |= {r.key: f"{r.mac} put on {r.after}" for r in decisions.rewired(entries)}
    found = "no report yet"
    if files.regular(report):
        manifest = re.search(r'<meta name="hikkoshi-sources" content="([^"]*)">', files.read(report).decode())
        named = set(manifest[1].split()) if manifest else set()
        missing = [name for key, name in wanted.items() if key not in named]
        surplus = named - set(wanted)
        found = f"without {', '.join(missing)}" if missing else f"tells of {len(surplus)} that changed since" if surplus else ""
    return Check(
        code="report-current",
        title="the report tells of every result and run as they are now",
        ok=not found,
        found=found or f"{len(wanted)} results and runs, {files.human(report.stat().st_size)}",
        expected="the hash of every result and the last run of every step",
        remedy=f"run {REPORT} again",
        where=str(report),
    )


def checks(home: Home, guest: str) -> list[Check]:
    """What a report can be made from: the journal whole, every result readable. A bad result is told of in the report."""
    found, broken = "every line follows from the one before it", ""
    try:
        Journal(home.folder(guest).journal).check()
    except BadInput as e:
        broken = "; ".join(p.where for p in e.problems)
    unreadable = gather(home, guest).unreadable
    return [
        Check(
            code="journal-unchanged",
            title="the journal is as it was written",
            ok=not broken,
            found=broken or found,
            expected=found,
            remedy="take it from a backup",
        ),
        Check(
            code="results-readable",
            title="every result can be read",
            ok=not unreadable,
            found="; ".join(unreadable) or ", ".join(s.name for s in sources(home.folder(guest))) or "none is there yet",
            expected="results as this version writes them",
            remedy="run the step again that made it",
            later=True,
        ),
    ]


def table(home: Home, guest: str) -> list[dict[str, str]]:
    """The report's first page as rows for a reader, in the report's language."""
    _ = translations(home.site().lang).gettext
    return page.rows(page.first(gather(home, guest), _), _)


def _diffs(story: Story, _: Gettext) -> list[tuple[str, str, str]]:
    """(file, why it changes, unified diff)."""
    if not (story.plan and story.survey):
        return []
    inside = story.plan.preparation
    why = {e.path: e.why.said(_) for e in inside.edits}
    return [(file, why[file], unified) for file, unified in preparation.diffs(inside, story.survey.guest)]
