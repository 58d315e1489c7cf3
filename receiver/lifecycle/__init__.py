"""The lifecycle: `decide(current, notification, windows)` says what one callback does, and why.

Pure: no clock, no I/O, no logging. `stage_rules` and `operation_tables` hold the rules as data, `ordering_marks` what
makes order and repetition harmless, `application` the steps of applying a message to an entity; `vm`, `deployment`,
`resource` and `operation` say what their rules make of it (`source`: what ESC says of itself), `deployment_vms` which
VMs it is about, `decide` joins them. `overdue` and `reapply` are the two other ways to a decision.
"""

from receiver.lifecycle.context import Current, DelayedContext
from receiver.lifecycle.decide import decide, is_about_every_vm
from receiver.lifecycle.ordering_marks import Windows
from receiver.lifecycle.source import is_about_source

__all__ = ["Current", "DelayedContext", "Windows", "decide", "is_about_every_vm", "is_about_source"]
