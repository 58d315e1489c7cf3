"""How an emulator runs, and how its ESC behaves. Data only."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from esc_lab.emulator.injected_faults import Faults

Recovery = Literal["policy", "reboot", "redeploy", "never", "by-itself"]
"""How a VM that died recovers: as its data model says, or in another way."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the ESC document leaves open, or what differs between ESCs."""

    header_style: str = "printed"
    vim: Literal["auto", "openstack", "vmware"] = "auto"
    """auto: as the VIM connector of the deployment says; without one VMware for the admin tenant, else OpenStack."""
    updated_stage: Literal["VM_ALIVE", "VM_UPDATED"] = "VM_ALIVE"
    """The stage of a changed VM: the printed example has VM_ALIVE, its text VM_UPDATED
    (docs/esc-callbacks.md#trap-1)."""
    recovery: Recovery = "policy"
    events_to: Literal["events", "callback"] = "events"
    """Which of the two URLs an `esc_event` goes to."""
    suspected: bool = True
    """Whether messages that no source prints are sent (○ in docs/esc-callbacks.md#marks)."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run one; the defaults are those of the command line."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    https_port: int | None = None
    """None: no HTTPS; 0 takes a free one."""
    basic: tuple[str, str] | None = None
    """User and password; None: no authentication."""
    time_scale: float = 1.0
    """1: ESC's own pace; 0: no pauses."""
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))
    data_dir: Path | None = None
    habits: Habits = field(default_factory=Habits)
    faults: Faults = field(default_factory=Faults)
    retries: int = 0
    callback_timeout_s: float = 10.0
    truststore: Path | None = None
    """CA certificates (PEM) that callback targets are judged by; None: those of the system."""
    source_addresses: tuple[str, ...] = ()
    """Where callbacks come from, one after the other with each failover; none: as the system chooses."""
    failover_every_s: float = 0.0
    """Unscaled; 0: only when it is asked for."""
    source: str = "default"
    """The receiver's name of this ESC; for auditors."""
    keep_audit_log: bool = False
    """Keep expected state and receipts for an auditor; memory grows with every callback."""
