"""What JupyterLab writes of a site's folder: what somebody edited, and nothing that came of running it."""

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from tornado.web import HTTPError

from hikkoshi import show
from hikkoshi.jupyter import server
from hikkoshi.jupyter.served import ServedFolder
from hikkoshi.params.home import Home
from hikkoshi.record.engine import prose, runbook
from hikkoshi.steps.start_here import StartHere

PROJECT = Path(__file__).parents[2]
PREPARE = "notebooks/30-prepare.ipynb"


@pytest.fixture
def contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedFolder:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))  # where it keeps which notebooks it trusts
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    for name in ("params/site.yml", "outputs/guests/gateway/plan.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    return ServedFolder(root_dir=str(tmp_path))


def run_and_saved(contents: ServedFolder, path: str, edit: Callable[[Any], None] = lambda nb: None) -> Any:
    """A page as it is after somebody has run all of it, saved; what the file then holds."""
    nb = asyncio.run(contents.get(path))["content"]
    for n, cell in enumerate(nb.cells, 1):
        cell.metadata |= {"collapsed": True}
        if cell.cell_type == "code":
            cell.metadata["execution"] = {"iopub.execute_input": "2026-11-30T15:00:00Z"}
            cell |= {"execution_count": n, "outputs": [nbformat.v4.new_output("stream", text="a table")]}
    nb.metadata |= {"language_info": {"name": "python", "version": "3.13"}, "widgets": {}}
    edit(nb)
    asyncio.run(contents.save({"type": "notebook", "format": "json", "content": nb}, path))
    return nbformat.read(Path(contents.root_dir, path), as_version=4)


def parameters(nb: Any) -> Any:
    return next(c for c in nb.cells if "parameters" in c.metadata.get("tags", ()) and c.cell_type == "code")


@pytest.mark.parametrize("spelled", ["./notebooks", "params/../notebooks", "notebooks/../notebooks", "notebooks/pictures/.."])
def test_a_runbook_is_one_however_its_path_is_written(contents: ServedFolder, spelled: str) -> None:
    run_and_saved(contents, f"{spelled}/30-prepare.ipynb")
    assert Path(contents.root_dir, PREPARE).read_bytes() == (PROJECT / PREPARE).read_bytes()


def test_every_runbook_is_byte_for_byte_the_same_after_it_was_run_and_saved(contents: ServedFolder) -> None:
    names = sorted(p.name for p in (PROJECT / "notebooks").glob("*.ipynb"))
    assert len(names) > 10
    for name in names:
        run_and_saved(contents, f"notebooks/{name}")
        there = Path(contents.root_dir, "notebooks", name)
        assert there.read_bytes() == (PROJECT / "notebooks" / name).read_bytes(), name
    assert not list(Path(contents.root_dir).rglob(".ipynb_checkpoints"))


def test_a_runbook_opens_in_plan_mode_whatever_it_was_run_with(contents: ServedFolder) -> None:
    def apply(nb: Any) -> None:
        parameters(nb).source = 'guest = "idp"\nmode = "apply"\nhome = ""'

    saved = parameters(run_and_saved(contents, PREPARE, apply)).source
    assert 'mode = "plan"' in saved
    assert "idp" not in saved


def test_what_somebody_has_edited_is_kept_without_what_it_showed(contents: ServedFolder) -> None:
    def edit(nb: Any) -> None:
        nb.cells[0].source = "# Mine"
        parameters(nb).source += "\nprint(guest)"
        own = nbformat.v4.new_code_cell("look()", metadata={"tags": ["mine"], "execution": {}}, execution_count=99)
        own.outputs = [nbformat.v4.new_output("stream", text="seen")]
        nb.cells[-1:] = [own]

    before = nbformat.read(PROJECT / PREPARE, as_version=4)
    after = run_and_saved(contents, PREPARE, edit)
    assert after.cells[0].source == "# Mine"
    assert after.cells[0].metadata == {"tags": ["title"]}
    assert parameters(after).source.endswith("print(guest)")
    assert (after.cells[-1].source, after.cells[-1].metadata) == ("look()", {"tags": ["mine"]})
    assert [(c.outputs, c.execution_count) for c in (parameters(after), after.cells[-1])] == [([], None)] * 2
    edited = (before.cells[0].id, parameters(before).id)
    assert [c for c in after.cells[:-1] if c.id not in edited] == [c for c in before.cells[:-1] if c.id not in edited]


def test_a_notebook_elsewhere_is_saved_as_it_is(contents: ServedFolder) -> None:
    shutil.copy(PROJECT / PREPARE, Path(contents.root_dir, "mine.ipynb"))
    assert parameters(run_and_saved(contents, "mine.ipynb")).outputs[0].text == "a table"


def test_what_runs_have_made_is_only_read(contents: ServedFolder) -> None:
    path, own = "outputs/guests/gateway/plan.json", "params/site.yml"
    assert [asyncio.run(contents.get(p))["writable"] for p in (path, own)] == [False, True]
    asyncio.run(contents.save({"type": "file", "format": "text", "content": "{new}"}, own))
    assert Path(contents.root_dir, own).read_text() == "{new}"
    for refused in (
        contents.save({"type": "file", "format": "text", "content": "{new}"}, path),
        contents.delete_file(path),
        contents.rename_file(path, "plan.json"),
        contents.rename_file(own, "outputs/site.yml"),
    ):
        with pytest.raises(HTTPError, match="only read here"):
            asyncio.run(refused)
    assert Path(contents.root_dir, path).read_text() == "{}"


@pytest.mark.parametrize("path", ["notebooks/../outputs/guests", "./outputs/guests", "notebooks/link"])
def test_what_runs_have_made_is_only_read_by_whatever_path_it_is_reached(contents: ServedFolder, path: str) -> None:
    there = Path(contents.root_dir, "outputs/guests/gateway/plan.json")
    Path(contents.root_dir, "notebooks/link").symlink_to("../outputs/guests")
    assert not contents.is_writable(path)
    for refused in (
        contents.save({"type": "file", "format": "text", "content": "{new}"}, f"{path}/gateway/plan.json"),
        contents.delete_file(f"{path}/gateway/plan.json"),
        contents.copy("params", path),
    ):
        with pytest.raises(HTTPError, match="only read here"):
            asyncio.run(refused)
    assert ([*there.parents[1].iterdir()], there.read_text()) == ([there.parent], "{}")


def test_a_folder_of_runs_is_not_copied_to_beside_itself_but_to_another_place(contents: ServedFolder) -> None:
    with pytest.raises(HTTPError, match="only read here"):
        asyncio.run(contents.copy("outputs/guests"))
    asyncio.run(contents.copy("outputs/guests", "params"))
    assert Path(contents.root_dir, "params/guests/gateway/plan.json").is_file()


def test_what_would_go_with_the_folder_that_is_served_is_refused_and_what_is_in_ones_own_stays(home: Home) -> None:
    (home.root / "mine").mkdir()
    with server._served(home) as root:
        contents = ServedFolder(root_dir=str(root))
        for refused in (
            contents.new_untitled("", type="file"),
            contents.delete_file("mine"),
            contents.rename_file("mine", "ours"),
        ):
            with pytest.raises(HTTPError, match="make it in params/"):
                asyncio.run(refused)
        asyncio.run(contents.save({"type": "file", "format": "text", "content": "kept"}, "mine/notes.txt"))
        assert [contents.is_writable(p) for p in ("mine", "mine/notes.txt", "outputs")] == [True, True, False]
    assert (home.root / "mine/notes.txt").read_text() == "kept"


def test_no_runbook_of_an_installed_program_is_removed_and_none_is_put_beside_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = tmp_path / "hikkoshi" / "notebooks"
    shutil.copytree(PROJECT / "notebooks", packaged)
    monkeypatch.setattr(runbook, "PACKAGED", packaged)
    before = sorted(packaged.iterdir())
    with server._served(home) as root:
        contents = ServedFolder(root_dir=str(root))
        for refused in (
            contents.delete_file(PREPARE),
            contents.rename_file(PREPARE, "params/mine.ipynb"),
            contents.new_untitled("notebooks", type="notebook"),
            contents.copy("notebooks/pictures", "notebooks"),
        ):
            with pytest.raises(HTTPError, match="the installed program's"):
                asyncio.run(refused)
        run_and_saved(contents, PREPARE)
        with pytest.raises(HTTPError, match="copy the folder notebooks into your site's"):
            run_and_saved(contents, PREPARE, lambda nb: nb.cells[0].update(source="# Mine"))
        asyncio.run(contents.copy(PREPARE, "params"))
    assert sorted(packaged.iterdir()) == before
    assert (packaged / "30-prepare.ipynb").read_bytes() == (PROJECT / PREPARE).read_bytes()
    assert (home.root / PREPARE.replace("notebooks", "params")).is_file()


def test_a_runbook_of_the_project_is_copied_and_neither_removed_nor_renamed(
    contents: ServedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runbook, "PROJECT", Path(contents.root_dir))
    for refused in (
        contents.delete_file(PREPARE),
        contents.rename_file(PREPARE, "notebooks/mine.ipynb"),
        contents.rename_file("notebooks", "books"),
    ):
        with pytest.raises(HTTPError, match="copy it, and rename or remove the copy"):
            asyncio.run(refused)
    copy = asyncio.run(contents.copy(PREPARE))["path"]
    asyncio.run(contents.rename_file(copy, "notebooks/mine.ipynb"))
    asyncio.run(contents.delete_file("notebooks/mine.ipynb"))
    assert Path(contents.root_dir, PREPARE).is_file()


def test_a_folder_of_ones_own_is_served_with_the_projects_runbooks_beside_it(home: Home) -> None:
    with server._served(home) as root:
        home.outputs.mkdir()
        assert (root / "params").resolve() == home.root / "params"
        assert (root / "outputs").resolve() == home.outputs
        assert (root / PREPARE).read_bytes() == (PROJECT / PREPARE).read_bytes()
        assert (root / "docs" / "migration.md").is_file()
    assert not root.exists()
    assert (home.root / "params" / "site.yml").is_file()


def test_a_folder_that_has_runbooks_is_served_itself(home: Home) -> None:
    shutil.copytree(PROJECT / "notebooks", home.root / "notebooks")
    with server._served(home) as root:
        assert root == home.root


@pytest.fixture
def site(contents: ServedFolder, home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HIKKOSHI_HOME", str(home.root))
    return home


def opened(contents: ServedFolder, path: str = PREPARE) -> str:
    return str(parameters(asyncio.run(contents.get(path))["content"]).source)


def test_the_guest_that_was_picked_is_named_in_the_next_runbook_and_its_file_stays(contents: ServedFolder, site: Home) -> None:
    assert opened(contents).startswith('guest = "gateway"')
    StartHere(site).pick("idp")
    page = opened(contents)
    assert (page.startswith('guest = "idp"  #'), 'mode = "plan"' in page) == (True, True)
    run_and_saved(contents, PREPARE)
    assert Path(contents.root_dir, PREPARE).read_bytes() == (PROJECT / PREPARE).read_bytes()


def test_a_guest_that_has_no_parameters_any_more_is_not_picked(contents: ServedFolder, site: Home) -> None:
    here = StartHere(site)
    here.pick("idp")
    site.guest_file("idp").unlink()
    assert (here.picked(), opened(contents)[:17]) == ("", 'guest = "gateway"')
    (picked,) = (site.outputs / "picked").iterdir()
    picked.write_bytes(b'"\nimport os #\xff')
    assert opened(contents).startswith('guest = "gateway"')


def test_where_nothing_can_be_written_a_guest_can_be_looked_at_all_the_same(site: Home) -> None:
    site.outputs.mkdir(exist_ok=True)
    (site.outputs / "picked").write_text("")
    StartHere(site).pick("idp")
    assert StartHere(site).picked() == ""


def test_the_drop_down_begins_with_the_guest_that_was_picked_before(site: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(show, "interactive", lambda: True)
    monkeypatch.setattr(show, "display", lambda thing, **_: shown.append(thing))
    here = StartHere(site)
    here.pick("idp")
    show.picker(here)
    drop_down = shown[-1].children[0]
    assert drop_down.value == "idp"
    drop_down.value = "gateway"
    assert here.picked() == "gateway"


def japanese(site: Home) -> None:
    site.site_file.write_text(site.site_file.read_text().replace("lang: en", "lang: ja"))


def test_every_runbook_is_read_in_the_sites_language_and_stays_byte_for_byte_the_same(contents: ServedFolder, site: Home) -> None:
    japanese(site)
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        page = asyncio.run(contents.get(f"notebooks/{path.name}"))["content"]
        assert re.search("[ぁ-ん]", page.cells[0].source), path.name
        run_and_saved(contents, f"notebooks/{path.name}")
        assert Path(contents.root_dir, "notebooks", path.name).read_bytes() == path.read_bytes(), path.name


def test_of_a_runbook_that_is_read_in_japanese_only_what_was_edited_is_written(contents: ServedFolder, site: Home) -> None:
    def edit(nb: Any) -> None:
        nb.cells[0].source += "\n> 夜間は先に電話すること。"
        nb.cells.append(nbformat.v4.new_markdown_cell(nb.cells[1].source))
        # what the site's language is by now does not count
        site.site_file.write_text(site.site_file.read_text().replace("lang: ja", "lang: en"))

    japanese(site)
    before = nbformat.read(PROJECT / PREPARE, as_version=4)
    after = run_and_saved(contents, PREPARE, edit)
    assert after.cells[0].source.startswith("# 30 · 複製を準備する\n")
    assert after.cells[0].source.endswith("> 夜間は先に電話すること。")
    assert after.cells[1:-1] == before.cells[1:]
    assert after.cells[-1].source == before.cells[1].source  # a copy of what nobody has edited
    assert opened(contents) == parameters(before).source


def test_a_page_that_is_open_while_the_translation_is_updated_goes_back_into_english(
    contents: ServedFolder, site: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(nb: Any) -> None:
        name = prose.catalogue("ja", "30-prepare")
        words = (prose.PACKAGE / name).read_text().replace("複製を準備する", "複製の準備")
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(words)
        monkeypatch.setattr(prose, "PACKAGE", tmp_path)

    japanese(site)
    run_and_saved(contents, PREPARE, update)
    assert Path(contents.root_dir, PREPARE).read_bytes() == (PROJECT / PREPARE).read_bytes()


def test_a_copy_of_a_runbook_is_the_file_whatever_language_and_guest_its_page_has(contents: ServedFolder, site: Home) -> None:
    japanese(site)
    StartHere(site).pick("idp")
    for to in (None, "params"):
        made = asyncio.run(contents.copy(PREPARE, to))
        assert Path(contents.root_dir, made["path"]).read_bytes() == (PROJECT / PREPARE).read_bytes()


def test_a_page_opens_in_english_where_the_sites_file_cannot_be_read(contents: ServedFolder, site: Home) -> None:
    site.site_file.write_text("lang: ja\n")
    assert asyncio.run(contents.get(PREPARE))["content"].cells[0].source.startswith("# 30 · Prepare a copy\n")


def test_a_page_made_into_html_as_95_says_has_the_words_of_its_pictures() -> None:
    template = re.findall(r"jupyter nbconvert .*--template (\w+)", (PROJECT / "notebooks/95-fleet.ipynb").read_text())[0]
    picture = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    picture.metadata["image/png"] = {"alt": "two guests in time"}
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[picture])])
    assert 'alt="two guests in time"' in HTMLExporter(template_name=template).from_notebook_node(page)[0]
