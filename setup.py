"""Builds the package. What is fixed about it stands in pyproject.toml; here is what a wheel takes along of a checkout."""

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRunbooks(build_py):
    """Adds the runbooks with the pages that they lead to, and the commit: where there is no checkout nobody else can tell."""

    def run(self) -> None:
        """Build into an empty folder, for what an earlier build left there would go along."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            package = Path(self.build_lib, "hikkoshi")
            for folder in ("notebooks", "docs"):
                shutil.copytree(
                    folder, package / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "conf.py", "templates")
                )
            (package / "commit").write_text(_commit() + "\n")


def _commit() -> str:
    """The commit that the checkout is at, as `hikkoshi.record.engine.environment` tells it."""
    try:
        return "unknown: the package is not of a commit alone" if _git("status", "--porcelain") else _git("rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return "unknown: the package was not built in a git checkout"


def _git(*words: str) -> str:
    if not Path(".git").exists():  # another repository may be around it
        raise FileNotFoundError(".git")
    argv = ["git", "-c", "safe.directory=*", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


setup(cmdclass={"build_py": BuildWithRunbooks})
