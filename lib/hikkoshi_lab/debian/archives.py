"""Packages that the lab's Debian guest has not, with all that it lacks for them: files, as a user would give them."""

import shutil
from pathlib import Path

from hikkoshi import tool
from hikkoshi_lab import packages
from hikkoshi_lab.debian import tree


def there(name: str) -> list[Path]:
    """The files for one package; none where nobody has fetched them."""
    return sorted((tool.cache() / "packages" / name).glob("*.deb"))


def fetch(name: str) -> str:
    """Download them, by apt, which looks at the guest's own list of what is installed; a sentence about it."""
    if not there(name) and tree.available("debian"):
        part = tool.cache() / "packages" / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        (part / "partial").mkdir(parents=True)
        try:
            status = part / "status"
            status.write_text(tool.run(["debugfs", "-R", "cat /var/lib/dpkg/status", tree.made("debian")]).stdout)
            settings = [f"Dir::State::status={status}", f"Dir::Cache::archives={part}", "APT::Sandbox::User=root"]
            options = [word for setting in settings for word in ("-o", setting)]
            get = ["-q", "-y", "--no-install-recommends", "--download-only", "install", name]
            tool.run(["apt-get", *options, *get], timeout=900, env=packages.settings())
            for deb in part.glob("*.deb"):
                deb.rename(deb.with_name(deb.name.replace("%3a", ".")))  # of an epoch
            part.rename(part.with_suffix(""))
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return f"{len(there(name))} packages"
