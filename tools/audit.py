"""`make audit`: asks PyPI's advisories about every package of the locks. Exit status 1 for a known vulnerability.

Where the advisories cannot be had (no network, an index that has none) it says so, and the exit status is 0: then
nothing was found out. What is known and accepted stands in requirements/audit-accepted.toml, each with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
LOCKS = ("run", "image", "dev", "uv", "chart", "cluster")
ACCEPTED = REQUIREMENTS / "audit-accepted.toml"
SKIPPED = "skipped: no advisory data"


class Vulnerability(NamedTuple):
    """One that is known of a package in a lock."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixed_in: tuple[str, ...]


def vulnerabilities(report: Mapping[str, Any]) -> list[Vulnerability]:
    """Those of a report of pip-audit's."""
    return [
        Vulnerability(
            found["name"], found["version"], known["id"], tuple(known["aliases"]), tuple(known["fix_versions"])
        )
        for found in report["dependencies"]
        for known in found.get("vulns", ())
    ]


def is_audited(report: Mapping[str, Any]) -> bool:
    """Whether PyPI's advisories were asked about anything at all."""
    return any("skip_reason" not in one for one in report["dependencies"])


def not_accepted(found: Iterable[Vulnerability], accepted: Mapping[str, str]) -> list[Vulnerability]:
    """Those that nobody has looked at, by their own id or an alias."""
    return [one for one in found if not {one.id, *one.aliases} & accepted.keys()]


def accepted_ids(path: Path = ACCEPTED) -> Mapping[str, str]:
    """Id to reason. Raises SystemExit for one without."""
    accepted: Mapping[str, str] = tomllib.loads(path.read_text("utf-8"))
    if unexplained := [name for name, reason in accepted.items() if not reason.strip()]:
        raise SystemExit(f"{path.name}: without a reason: {', '.join(unexplained)}")
    return accepted


def first_package(lock: str) -> str:
    """The first entry of a lock, with its hashes."""
    entry: list[str] = []
    for line in lock.splitlines():
        if line.startswith(("#", "--")) and not entry:
            continue
        entry.append(line)
        if not line.endswith("\\"):
            break
    return "\n".join(entry) + "\n"


def main() -> None:
    """Audit, or say why not."""
    accepted = accepted_ids()
    if not _answers():
        sys.stdout.write(f"audit {SKIPPED}\n")
        return
    reports = {name: _audited(REQUIREMENTS / f"{name}.lock") for name in LOCKS}
    missing = [name for name, report in reports.items() if report is None or not is_audited(report)]
    found = {one for report in reports.values() if report for one in vulnerabilities(report)}
    bad = sorted(not_accepted(found, accepted))
    for one in bad:
        fixed = ", ".join(one.fixed_in) or "no version yet"
        sys.stdout.write(f"{one.package} {one.version}: {one.id} ({', '.join(one.aliases)}), fixed in {fixed}\n")
    for name in missing:
        sys.stdout.write(f"audit of {name}.lock {SKIPPED}\n")
    sys.stdout.write(f"audit: {len(found)} known vulnerabilities, {len(found) - len(bad)} of them accepted\n")
    sys.exit(bool(bad))


def _answers() -> bool:
    """Whether it is any use to ask: about one package, before hundreds are asked about."""
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one.lock"
        one.write_text(first_package((REQUIREMENTS / "run.lock").read_text("utf-8")), "utf-8")
        report = _audited(one)
    return report is not None and is_audited(report)


def _audited(lock: Path) -> Mapping[str, Any] | None:
    """pip-audit's report; None when it could not ask."""
    options = ("--require-hashes", "--disable-pip", "--vulnerability-service", "pypi", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", *options, "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own locks
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr.decode("utf-8", "replace")[-500:])
        return None
    return report


if __name__ == "__main__":
    main()
