"""Every step is one class, made from a run: what it tells before anything was made. (What it makes: the other tests.)"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hikkoshi.params.params import Home
from hikkoshi.run import run
from hikkoshi.run.run import Run
from hikkoshi.steps.convert import Convert


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(run, "display", lambda thing: lines.append(str(thing)))
    monkeypatch.delenv("HIKKOSHI_RUN", raising=False)
    return lines


def names(home: Home, mode: str = "plan") -> dict[str, str]:
    return {"guest": "idp", "mode": mode, "home": str(home.root)}


XEN = "name = 'idp'\nmemory = 512\ndisk = ['file:/srv/xen/idp.img,xvda,w']\nvif = ['mac=00:16:3e:7a:30:01,bridge=xenbr0']\n"


@pytest.fixture
def dom0(home: Home) -> Path:
    """A Dom-0 with the guest's configuration, and nothing else."""
    config = home.root / "outputs" / "lab" / "dom0" / "etc" / "xen" / "idp"
    config.parent.mkdir(parents=True)
    config.write_text(XEN)
    return config.parents[2]


@pytest.fixture
def converting(home: Home, dom0: Path) -> Iterator[Run]:
    run = Convert.open(names(home))
    yield run
    run.close("completed")


def test_a_run_is_opened_by_its_step(converting: Run) -> None:
    assert (converting.step, converting.mode) == ("40-convert", "plan")


def test_before_anything_was_prepared_or_made_plan_mode_has_nothing_red(converting: Run, shown: list[str]) -> None:
    convert = Convert(converting)
    converting.preflight(convert.checks())
    converting.ensure("convert the disk", holds=convert.complete, act=convert.start)
    converting.verify(convert.proofs())
    assert not [line for text in shown for line in text.splitlines() if line.startswith("red")]
    assert [e["state"] for e in converting.journal.entries() if e["event"] == "verify"] == ["later"]


def test_before_anything_was_made_each_table_says_so(converting: Run) -> None:
    convert = Convert(converting)
    assert convert.hashes() == [{"what": "VMDK", "found": "not made yet"}]
    assert convert.header() == [{"field": "VMDK", "value": "not made yet"}]
