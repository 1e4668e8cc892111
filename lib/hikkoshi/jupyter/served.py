"""The files that JupyterLab shows of a site's folder, and which of them it writes: runbooks stay clean, outputs are only read."""

import re
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_server.files.handlers import FilesHandler
from jupyter_server.services.contents.checkpoints import AsyncCheckpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from hikkoshi.errors import BadInput
from hikkoshi.jupyter import page
from hikkoshi.params.home import Home
from hikkoshi.record.engine import runbook
from hikkoshi.run import choice

RUNBOOKS, EVIDENCE = "notebooks", "outputs"  # folders of what is served
NUMBERED = re.compile(r"\d\d-[a-z0-9-]+\.ipynb")  # how the project's own runbooks are called; a copy has -Copy1


class NoCheckpoints(AsyncCheckpoints):  # type: ignore[misc]
    """Keeps no second copy of what is saved: git, or whoever looks after the folder, does."""

    async def create_checkpoint(self, contents_mgr: Any, path: str) -> dict[str, Any]:
        """Say that there is one, as JupyterLab wants at each save."""
        return {"id": "none", "last_modified": datetime.now(UTC)}

    async def list_checkpoints(self, path: str) -> list[dict[str, Any]]:
        """None to go back to."""
        return []


class ServedFolder(AsyncLargeFileManager):  # type: ignore[misc]
    """A site's folder, as JupyterLab shows it."""

    def _checkpoints_class_default(self) -> type[NoCheckpoints]:
        return NoCheckpoints

    def _files_handler_class_default(self) -> Any:
        return FilesHandler  # goes where a link leads; the other one does not, and pictures would be missing

    def is_writable(self, path: str) -> bool:
        """Whether JupyterLab may write there: in outputs/ it may not, whoever the user is; it says so in the page's title."""
        return not self._is_evidence(path) and bool(super().is_writable(path))

    async def get(self, path: str, content: bool = True, **how: Any) -> Any:
        """A file; of a runbook its page, in the site's language and with the guest that was picked last."""
        model = await super().get(path, content, **how)
        if content and self._is_runbook(path) and model["type"] == "notebook":
            page.opened(model["content"], Path(path).stem, _lang(), _picked())
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        """Write what was edited; of a runbook, nothing that came of running it."""
        if self._is_runbook(path) and model.get("type") == "notebook" and await self.file_exists(path):
            there = await self._read_notebook(self._get_os_path(path), as_version=4)
            written = page.kept(there, model["content"], Path(path).stem)
            if written == there:
                return await self.get(path, content=False)
            model = {**model, "content": written}
        self._refuse(path)
        return await super().save(model, path)

    async def delete_file(self, path: str) -> Any:
        """Remove a file, or a folder."""
        self._refuse(path, gone=True)
        return await super().delete_file(path)

    async def rename_file(self, old_path: str, new_path: str) -> Any:
        """Move a file, or a folder."""
        self._refuse(old_path, gone=True)
        self._refuse(new_path)
        return await super().rename_file(old_path, new_path)

    async def copy(self, from_path: str, to_path: str | None = None) -> Any:
        """Copy a file, which is saved then, or a folder, which is not; without `to_path` to beside it."""
        name = from_path.strip("/").rpartition("/")[2]
        into = to_path is not None and await self.dir_exists(to_path)
        self._refuse(from_path if to_path is None else f"{to_path}/{name}" if into else to_path)
        made = await super().copy(from_path, to_path)
        if made["type"] == "notebook" and self._is_runbook(from_path):  # in English and with its own guest, as the file has it
            shutil.copyfile(self._get_os_path(from_path.strip("/")), self._get_os_path(made["path"]))
        return made

    def _refuse(self, path: str, *, gone: bool = False) -> None:
        """`HTTPError` with the reason where nothing may be written there, or where what is there may not be `gone`."""
        if self._is_evidence(path):
            raise HTTPError(403, f"{path} is what a run has made, and is only read here")
        root, place = Path(self.root_dir).resolve(), self._place(path)
        if place.parent == root and not root.stat().st_mode & stat.S_IWUSR:
            raise HTTPError(403, f"{path} would be gone when JupyterLab ends: make it in params/, or in a folder of your own")
        if place.is_relative_to(runbook.PACKAGED.resolve()):
            raise HTTPError(
                403, f"{path} is the installed program's: copy the folder notebooks into your site's, and change that"
            )
        project = runbook.shipped().resolve()
        if gone and (place == project or (place.parent == project and NUMBERED.match(place.name))):
            raise HTTPError(403, f"{path} is the project's, and a step needs it: copy it, and rename or remove the copy")

    def _is_runbook(self, path: str) -> bool:
        """Whether it is in notebooks/, however that is written: as `./notebooks` or `params/../notebooks`, too."""
        return self._place(path).is_relative_to(Path(self.root_dir, RUNBOOKS).resolve())

    def _is_evidence(self, path: str) -> bool:
        """Whether it is in outputs/, or leads there: as `notebooks/../outputs` does, or a link."""
        place, evidence = self._place(path), Path(self.root_dir, EVIDENCE).resolve()
        return any(p.is_relative_to(evidence) for p in (place, place.resolve()))

    def _place(self, path: str) -> Path:
        """Where it is; what is a link itself stays one."""
        named = Path(self._get_os_path(path.strip("/")))
        return named.parent.resolve() / named.name


def _picked() -> str:
    try:
        return choice.of(Home.find())
    except BadInput:  # another folder than a site's: its pages open as they are
        return ""


def _lang() -> str:
    try:
        return Home.find().site().lang
    except BadInput:
        return "en"
