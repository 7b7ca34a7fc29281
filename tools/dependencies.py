"""Audit of the dependencies: ``python -m tools.dependencies``, also as ``make audit``.

Without a network it tells whether every dependency is pinned with hashes, whether what is installed is what is pinned,
and whether it fits together. Where ``pip-audit`` is installed and its database answers, known vulnerabilities are told.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from packaging.utils import canonicalize_name

REQUIREMENTS: Final = Path(__file__).parents[1] / "requirements.txt"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+))?")
_AUDIT_SECONDS: Final = 120


def pins(text: str) -> Iterator[tuple[str, str, int]]:
    """Name, version and number of hashes of each requirement that this platform installs."""
    for block in re.split(r"\n(?=\S)", text.replace("\\\n", " ")):
        found = _PIN.match(block)
        if found and (not found[3] or Marker(found[3].partition("--hash")[0].strip()).evaluate()):
            yield canonicalize_name(found[1]), found[2], block.count("--hash=")


def faults(text: str, installed: Mapping[str, str]) -> list[str]:
    """What is wrong with the requirements in ``text``, or with what is installed of them."""
    told = []
    for name, version, hashes in pins(text):
        if not hashes:
            told.append(f"{name} {version} has no hash: anything could be installed in its place")
        if name in installed and installed[name] != version:
            told.append(f"{name} {installed[name]} is installed, and {version} is pinned")
    unpinned = [line for line in text.splitlines() if re.match(r"^[A-Za-z0-9._-]+\s*(?:[<>~!]|$)", line)]
    return told + [f"{line.strip()} is not pinned to a version" for line in unpinned]


def main() -> int:
    installed = {str(canonicalize_name(each.metadata["Name"])): each.version for each in distributions()}
    found = faults(REQUIREMENTS.read_text(encoding="utf-8"), installed)
    fits = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    found += fits.stdout.strip().splitlines() if fits.returncode else []
    found += _known_vulnerabilities()
    for each in found:
        sys.stdout.write(f"✗ {each}\n")
    sys.stdout.write(f"{len(list(pins(REQUIREMENTS.read_text(encoding='utf-8'))))} pins, {len(found)} faults.\n")
    return int(bool(found))


def _known_vulnerabilities() -> list[str]:
    if find_spec("pip_audit") is None:
        sys.stdout.write("Known vulnerabilities were not looked up: pip install pip-audit, where there is a network.\n")
        return []
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(REQUIREMENTS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_AUDIT_SECONDS)
    except subprocess.TimeoutExpired:
        sys.stdout.write("Known vulnerabilities were not looked up: their database doesn't answer.\n")
        return []
    if done.returncode and not done.stdout.strip():
        sys.stdout.write(f"Known vulnerabilities were not looked up: {done.stderr.strip().splitlines()[-1]}\n")
        return []
    return done.stdout.strip().splitlines()[2:] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main())
