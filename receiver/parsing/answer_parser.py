"""What ESC answers when it is asked for its deployments: each of them with its VMs.

The document prints no such answer, so its shape is a guess: the elements of a callback, `deployment_details` once for
each VM, many of them in whatever element. Read with the tolerance of callbacks; what cannot be understood is named and
left out. Must not know HTTP, nor what an answer does (`lifecycle.answer`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from receiver.errors import NotXmlError
from receiver.model.notification import DeploymentReport, VmReport
from receiver.parsing.deployment_parser import read_deployment, read_vm
from receiver.parsing.fields import NameTooLongError, rename, shown
from receiver.parsing.vocabulary import ALIASES
from receiver.parsing.xml_document import Part, read_parts

ELEMENT: Final = "deployment"
LISTS: Final = frozenset({"deployments", "deployment_list", "collection", "list"})
"""Roots that hold deployments, and so may hold none."""
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]+")
_DOTS: Final = frozenset({".", ".."})


class ShownDeployment(NamedTuple):
    """A deployment as ESC shows it."""

    deployment: DeploymentReport
    vms: tuple[VmReport, ...]
    raw: bytes
    """Its element."""


class AnswerRead(NamedTuple):
    """What an answer says."""

    shown: list[ShownDeployment]
    unread: list[str]
    """Why others are left out, a line each."""


def read_answer(body: bytes, depth_max: int) -> AnswerRead:
    """Raises NotXmlError for what is no answer to this question."""
    root, parts = read_parts(body, depth_max, ELEMENT)
    if not parts and root not in LISTS:
        raise NotXmlError(f"the root element {shown(root)} holds no deployment")
    answer = AnswerRead([], [])
    for part in parts:
        try:
            answer.shown.append(_shown(part))
        except (NameTooLongError, NotXmlError) as error:
            answer.unread.append(str(error))
    return answer


def is_safe(internal_id: str) -> bool:
    """Whether it is made of what ESC's ids are made of (docs/esc-callbacks.md#3.3), so that it can stand in a path."""
    return _SAFE.fullmatch(internal_id) is not None and internal_id not in _DOTS


def _shown(part: Part) -> ShownDeployment:
    fields = part.document.fields
    rename(fields, ALIASES)
    blocks = fields.pop("deployment_details", None)
    vms = [read_vm(block) for block in (blocks if isinstance(blocks, list) else [blocks]) if isinstance(block, dict)]
    report = read_deployment(fields)
    if report is None:
        raise NotXmlError("a deployment without internal_deployment_id")
    if not is_safe(report.internal_id):
        raise NotXmlError(f"a deployment whose id has characters that no id of ESC has: {shown(report.internal_id)}")
    return ShownDeployment(report, tuple(vm for vm in vms if vm), part.raw)
