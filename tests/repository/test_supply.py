"""What we ship: known vulnerabilities are found, and the list of its parts is valid and whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools import audit, sbom

FOUND = {
    "dependencies": [
        {"name": "a", "version": "1", "vulns": []},
        {
            "name": "b",
            "version": "2",
            "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": ["CVE-1"], "description": "bad"}],
        },
    ],
    "fixes": [],
}
NOTHING_KNOWN = {"dependencies": [{"name": "a", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}


def test_a_known_vulnerability_is_found_and_can_be_accepted_with_a_reason() -> None:
    """By its id, or by an alias."""
    (found,) = audit.vulnerabilities(FOUND)
    assert (found.package, found.id, found.fixed_in) == ("b", "PYSEC-1", ("3",))
    assert audit.not_accepted([found], {}) == [found]
    assert audit.not_accepted([found], {"CVE-1": "we never call it"}) == []


def test_no_advisories_are_no_clean_bill() -> None:
    """An index without them answers for nothing."""
    assert audit.is_audited(FOUND)
    assert not audit.is_audited(NOTHING_KNOWN)


def test_what_is_accepted_has_a_reason(tmp_path: Path) -> None:
    """In our own list, and any without one is refused."""
    audit.accepted_ids()
    (tmp_path / "list.toml").write_text('"CVE-1" = " "\n')
    with pytest.raises(SystemExit, match="CVE-1"):
        audit.accepted_ids(tmp_path / "list.toml")


def test_one_entry_of_a_lock_has_its_hashes() -> None:
    """It is what is asked about first."""
    entry = audit.first_package((audit.REQUIREMENTS / "run.lock").read_text("utf-8"))
    assert re.match(r"\S+==\S+ .*\\\n {4}--hash=sha256:", entry)
    assert entry.count("==") == 1


@pytest.mark.parametrize("lock", sbom.LOCKS)
def test_the_list_of_parts_is_valid_and_names_every_package_of_the_lock(tmp_path: Path, lock: str) -> None:
    """As CycloneDX 1.6, with the hashes that the lock demands."""
    made = tmp_path / "made.json"
    command = [sys.executable, "-m", "tools.sbom", lock, str(made)]
    subprocess.run(command, cwd=audit.REQUIREMENTS.parent, check=True, capture_output=True)  # noqa: S603 - our own
    text = made.read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    parts = {f"{one['name'].lower()}=={one['version']}" for one in document["components"]}
    locked = re.findall(
        r"(?m)^([A-Za-z0-9_.-]+)(?:\[.*?\])?(==\S+)", (audit.REQUIREMENTS / f"{lock}.lock").read_text("utf-8")
    )
    assert parts == {name.lower() + version for name, version in locked}
    assert document["metadata"]["component"]["name"] == "esc-receiver"
    assert all(one["externalReferences"][0]["hashes"] for one in document["components"])
