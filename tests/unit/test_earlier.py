"""What earlier versions told in words alone is read as if it had its codes."""

from typing import Any

import pytest

from hikkoshi.run.earlier import completed


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"event": "start", "title": "the source is off"}, {"code": "source-off"}),
        ({"event": "start", "title": "convert the disk"}, {"code": ""}),
        (
            {
                "event": "step",
                "title": "the source is back in service",
                "state": "failed",
                "found": "Refused: a person has to start it",
            },
            {"code": "source-runs", "kind": "Refused", "codes": ["start-by-hand"]},
        ),
        ({"event": "step", "title": "x", "state": "already", "found": "not measured: none is asked"}, {"state": "not measured"}),
        ({"event": "step", "title": "x", "state": "done", "found": "not measured: none is asked"}, {"state": "done"}),
        (
            {"event": "outcome", "outcome": "failed", "error": "Busy: another run is at work\n  where: x"},
            {"kind": "Busy", "error": "another run is at work\n  where: x", "codes": []},
        ),
        ({"event": "outcome", "error": "StepFailed: a person has to start idp"}, {"codes": ["start-by-hand"]}),
        ({"event": "outcome", "outcome": "interrupted", "error": "the kernel died"}, {"kind": "", "error": "the kernel died"}),
    ],
)
def test_words_of_earlier_versions_have_their_codes(line: dict[str, Any], told: dict[str, Any]) -> None:
    found = completed(line)
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (
            {"title": "whoever carries this out can sign for it", "state": "ok", "found": "operator@lab, SHA256:abc"},
            {"code": "operator-signs", "facts": {"name": "operator@lab", "key": "SHA256:abc"}},
        ),
        (
            {"title": "since the move: the guest does not slow its network down", "state": "red", "found": "regressed: 0.01"},
            {"code": "not-slowed", "facts": {"verdict": "regressed"}},
        ),
        (
            {"title": "since the move: nor does it from lan", "state": "red", "found": "inconclusive: 0.9"},
            {"code": "segment-not-slowed", "facts": {"verdict": "inconclusive"}},
        ),
        ({"title": "x", "state": "not seen", "found": "a folder"}, {"state": "not seen"}),
        ({"title": "x", "state": "ok", "found": "not seen from here, the Dom-0 is a folder (/mnt): …"}, {"state": "not seen"}),
        ({"title": "x", "state": "ok", "found": "not needed: no cause was named"}, {"state": "not needed"}),
        ({"title": "x", "state": "red", "found": "not measured"}, {"state": "red"}),
        ({"title": "x", "state": "ok", "found": "off"}, {"state": "ok"}),
    ],
)
def test_a_check_of_an_earlier_version_has_its_code_and_its_facts(check: dict[str, Any], told: dict[str, Any]) -> None:
    (found,) = completed({"event": "verify", "checks": [check]})["checks"]
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    "line",
    [
        {"event": "step", "title": "the source is off", "code": "other", "state": "already", "found": "not seen: x"},
        {"event": "outcome", "kind": "", "error": "Busy: this is what the guest's own service is called"},
        {"event": "verify", "checks": [{"code": "a", "title": "nor does it from x", "state": "ok", "found": "not seen: x"}]},
        {"event": ["step"], "checks": 1},
        {"event": "verify", "checks": [1, None]},
        {},
    ],
)
def test_a_line_with_codes_is_left_alone_and_so_is_what_nobody_of_us_wrote(line: dict[str, Any]) -> None:
    assert completed(line) == line
