"""The audit of dependencies: every pin has hashes, and what differs from them is told."""

import pytest

from tools.dependencies import REQUIREMENTS, faults, pins

SOUND = """\
click==8.5.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
pyyaml==6.0.2 ; python_version >= '3.11' \\
    --hash=sha256:cc
"""


def test_sound_pins_have_no_faults() -> None:
    assert list(pins(SOUND)) == [("click", "8.5.0", 2), ("pyyaml", "6.0.2", 1)]
    assert faults(SOUND, {"click": "8.5.0"}) == []


@pytest.mark.parametrize(
    ("text", "installed", "told"),
    [
        ("click==8.5.0\n", {}, "no hash"),
        (SOUND, {"click": "8.4.0"}, "is installed"),
        ("click>=8\n", {}, "not pinned"),
    ],
)
def test_faults_are_told(text: str, installed: dict[str, str], told: str) -> None:
    [fault] = faults(text, installed)
    assert told in fault


def test_the_projects_own_requirements_are_all_pinned_with_hashes() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    assert len(list(pins(text))) > 100
    assert faults(text, {}) == []
