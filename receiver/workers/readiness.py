"""What `/readyz` says of several workers, made of what each says. Must not know what is checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Told(NamedTuple):
    """What is known of one worker."""

    number: int
    state: str
    process: int
    restarts: int
    said: dict[str, Any] | None
    """Its own document; None when it does not answer."""


def together(workers: Sequence[Told]) -> dict[str, Any]:
    """Ready while one of them could keep a callback: a proxy must not turn away from all because of one."""
    said = [(one.number, one.said) for one in workers if one.said]
    missing = [f"worker {one.number}: {one.state}" for one in workers if not one.said or one.state == "restarting"]
    dependencies = {name: _dependency(name, said) for name in _names(said)}
    dependencies["workers"] = {"ok": False, "why": ", ".join(missing)} if missing else {"ok": True}
    return {
        "ready": any(document["ready"] for _, document in said),
        "degraded": bool(missing) or any(document["degraded"] for _, document in said),
        "dependencies": dependencies,
        "feed_fsynced": next((document["feed_fsynced"] for _, document in said), "unknown"),
        "warnings": list(dict.fromkeys(warning for _, document in said for warning in document["warnings"])),
        "workers": {str(one.number): _worker(one) for one in workers},
    }


def alone(said: dict[str, Any], number: int) -> dict[str, Any]:
    """Of a worker that hears nothing of the others."""
    fault = {"ok": False, "why": f"the supervisor does not answer (worker {number})"}
    return {**said, "degraded": True, "dependencies": {**said["dependencies"], "workers": fault}, "workers": {}}


def _names(said: Iterable[tuple[int, dict[str, Any]]]) -> list[str]:
    return list(dict.fromkeys(name for _, document in said for name in document["dependencies"]))


def _dependency(name: str, said: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """The same words of all are said once; else behind each stands whose they are."""
    faults = [
        (number, document["dependencies"][name]["why"])
        for number, document in said
        if not document["dependencies"].get(name, {"ok": True})["ok"]
    ]
    if not faults:
        return {"ok": True}
    words = {why for _, why in faults}
    if len(words) == 1 and len(faults) == len(said):
        return {"ok": False, "why": faults[0][1]}
    return {"ok": False, "why": "; ".join(f"{why} (worker {number})" for number, why in faults)}


def _worker(one: Told) -> dict[str, Any]:
    said = one.said or {}
    return {
        "state": one.state,
        "process": one.process,
        "restarts": one.restarts,
        "ready": bool(said.get("ready")),
        "mode": said.get("mode"),
    }
