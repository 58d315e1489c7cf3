"""The chart as Helm renders it: its objects, and what Kubernetes' own schemas say of them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import kubernetes_programs

CHART = Path(__file__).parents[2] / "packaging" / "chart"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
OPERATOR = "monitoring.coreos.com/v1"
"""Kinds of the Prometheus operator, of which Kubernetes' schemas know nothing."""

Object = Mapping[str, Any]


def program(name: str) -> Path:
    """helm or kubectl; skips the test where it is not."""
    path = kubernetes_programs.program(name)
    if path is None:
        pytest.skip(f"{name} is not installed (make chart)")
    return path


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of them, with nothing of whoever runs the tests."""
    command = [str(program(name)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": "/nonexistent"})  # noqa: S603


@cache
def rendered_text(values: Path, *options: str) -> str:
    """What would be handed to Kubernetes."""
    done = run("helm", "template", "esc", CHART, "--namespace", "nfv", "--values", values, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(values: Path, *options: str) -> list[Object]:
    """Its objects."""
    return [one for one in yaml.safe_load_all(rendered_text(values, *options)) if one]


def refused(*options: str) -> str:
    """What Helm says of values that it does not take."""
    done = run("helm", "template", "esc", CHART, *options)
    assert done.returncode != 0
    return done.stderr


def only(objects: list[Object], kind: str) -> Any:
    """The one object of this kind."""
    (found,) = (one for one in objects if one["kind"] == kind)
    return found


def containers(one: Object) -> list[Any]:
    """Those of an object that makes pods, with their pod."""
    spec = one["spec"]
    pod = spec if one["kind"] == "Pod" else spec["template"]["spec"]
    return [(pod, container) for container in pod["containers"]]


def environment(container: Object) -> dict[str, str]:
    """Its variables."""
    return {one["name"]: one["value"] for one in container["env"]}
