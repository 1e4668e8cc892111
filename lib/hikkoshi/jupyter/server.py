"""JupyterLab for one site's folder: on this machine only, behind a token, and without a word to anybody outside."""

import os
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hikkoshi.params.home import Home
from hikkoshi.record.engine import runbook
from hikkoshi.secret import temporary

FIRST = "00-start-here"
SETTINGS = Path(__file__).with_name("settings")  # what of JupyterLab is off: all that asks the network; long lines are broken


def serve(home: Home, more: Sequence[str] = ()) -> None:
    """Serve it until somebody ends it; `more` are options of JupyterLab's own, and count before ours."""
    from jupyterlab.labapp import LabApp  # noqa: PLC0415 - takes a second

    os.environ |= {
        "HIKKOSHI_HOME": str(home.root),
        "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel called python3 is the Python that has this package
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),  # hikkoshi, in a terminal
    }
    with _served(home) as root:
        LabApp.launch_instance([*_options(root), *more])


def _options(root: Path) -> list[str]:
    return [
        f"--ServerApp.root_dir={root}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.allow_root=True",
        "--ServerApp.contents_manager_class=hikkoshi.jupyter.served.ServedFolder",
        f"--LabApp.default_url=/lab/tree/notebooks/{FIRST}.ipynb",
        f"--LabApp.app_settings_dir={SETTINGS}",
        "--LabApp.extension_manager=readonly",
        # where nobody sits at ours, JupyterLab starts a login shell, whose profile forgets PATH
        f"--ServerApp.terminado_settings=shell_command={os.environ.get('SHELL') or '/bin/sh'}",
    ]


@contextmanager
def _served(home: Home) -> Iterator[Path]:
    """The folder to serve: the home itself where it has its runbooks, else one in which the project's are beside its own."""
    runbooks = runbook.find(home, FIRST).parent
    if runbooks.parent == home.root:
        yield home.root
        return
    with temporary.folder("jupyter") as view:
        own = (p for p in sorted(home.root.iterdir()) if p.is_dir() and not p.name.startswith("."))
        places = {p.name: p for p in (runbooks.parent / "docs", runbooks, home.outputs, *own)}
        for name, place in places.items():
            if place.is_dir() or place == home.outputs:
                (view / name).symlink_to(place)
        view.chmod(0o500)  # what is made beside them would go with it
        yield view
