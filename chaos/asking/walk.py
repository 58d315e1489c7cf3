"""What is ordered, and what goes wrong meanwhile, drawn from a seed: a dozen lives of deployments, side by side.

How processes interleave is the machine's to say. Must not know what the receiver makes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import aiohttp

from chaos.asking.esc import LATE_S, Esc
from chaos.process import Receiver
from tests.support.emulator import model

DEPLOYMENTS = 12
STEPS = 3, 7
DURATION_S = 6.0
"""Within it everything goes wrong that is to go wrong."""
END_TIMEOUT_S = 5.0
CHANCES = {"vm-fails": 0.05, "work-fails": 0.05}
"""Besides callbacks that are lost; the tenant, without which there is nothing, is made before."""
WAITED_FOR = 0.8
"""Of the orders; after the others the next one comes at once."""
AWAY_S = 0.4
TIMES = 3
"""So often an answer goes wrong: some of them are answers to us."""
TENANT = "acme"
WRONG_ANSWERS = (
    "answer-503", "answer-empty", "answer-late", "answer-garbled", "answer-cut", "answer-huge", "answer-elsewhere",
)  # fmt: skip
"""All but a lie about every state, which nobody could see through, and 401, after which nobody asks for minutes."""
STEP_WEIGHTS = {
    "undeploy": 3, "update": 2, "stop": 3, "start": 3, "reboot": 2, "disable_monitoring": 1, "enable_monitoring": 1,
    "scale-out": 2, "scale-in": 1, "reboot-vm": 3, "redeploy-vm": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that goes wrong at a time."""

    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.what} at {self.at_s:.1f} s"


def mishaps(seed: int) -> list[Mishap]:
    """One or two failovers, a few answers that go wrong, and in some seeds the end of the receiver."""
    rng = Random(f"asking/{seed}")
    found = [f"failover-{rng.choice(('lost', 'done'))}" for _ in range(rng.choice((1, 2)))]
    found += rng.sample(WRONG_ANSWERS, k=rng.choice((1, 2, 3)))
    found += ["kill-receiver"] * (rng.random() < 0.4)
    drawn = [Mishap(round(rng.uniform(0.2, 0.8) * DURATION_S, 2), what) for what in found]
    return sorted(drawn, key=lambda one: one.at_s)


async def walk(esc: Esc, receiver: Receiver, seed: int, lost: float, going_wrong: Sequence[Mishap]) -> None:
    """All of it, to the end of the last order."""
    await esc.order("POST", f"/v0/tenants/{TENANT}", f"<tenant><name>{TENANT}</name></tenant>")
    await esc.idle()
    await esc.make("faults", {"chances": {**CHANCES, "drop": lost}})
    async with asyncio.TaskGroup() as tasks:
        for number in range(DEPLOYMENTS):
            tasks.create_task(_live(esc, f"d{number:02}", Random(f"asking/{seed}/{number}")))
        for mishap in going_wrong:
            tasks.create_task(_go_wrong(esc, receiver, mishap))


async def _go_wrong(esc: Esc, receiver: Receiver, mishap: Mishap) -> None:
    await asyncio.sleep(mishap.at_s)
    match mishap.what:
        case "kill-receiver":
            async with receiver.lock:
                await receiver.kill()
                await asyncio.sleep(AWAY_S)
                await receiver.start()
        case "failover-lost" | "failover-done":
            await esc.make("failover", {"work": mishap.what.removeprefix("failover-")})
        case answer:
            times = 1 if answer == "answer-empty" else TIMES  # two of those in a row are to be believed
            await esc.make("faults", {"next": {answer: times}, "delay_s": LATE_S})


async def _live(esc: Esc, name: str, rng: Random) -> None:
    """One deployment; after an undeploy another one under the same id."""
    await asyncio.sleep(rng.uniform(0, 1.5))
    steps = rng.choices(list(STEP_WEIGHTS), list(STEP_WEIGHTS.values()), k=rng.randint(*STEPS))
    for step in ("deploy", *steps):
        transaction = await _order(esc, name, step, rng)
        if not transaction and step != "deploy":
            transaction = await _order(esc, name, "deploy", rng)  # perhaps there is none now
        if transaction and rng.random() < WAITED_FOR:
            await esc.end_of(transaction, END_TIMEOUT_S)
        await asyncio.sleep(rng.uniform(0, 1.2))


async def _order(esc: Esc, name: str, step: str, rng: Random) -> str:
    """The transaction of what ESC takes."""
    path = f"/v0/deployments/{name}"
    match step:
        case "deploy":
            web = {"vms": rng.choice((1, 2)), "bootup_time": 60}
            return await esc.order("POST", path, model(name, {"web": web, "db": {"watched": False}}))
        case "undeploy":
            return await esc.order("DELETE", path)
        case "update":
            return await esc.order("PUT", path, model(name, {"web": {"vms": 1, "max": 3}}))
        case "scale-out" | "scale-in":
            return str((await esc.make(f"deployments/{name}/{step}", {"group": "web"})).get("transaction", ""))
        case "reboot-vm" | "redeploy-vm":
            return await _die(esc, path, step.removesuffix("-vm"), rng)
    order = f"<service_operation><operation>{step}</operation></service_operation>"
    return await esc.order("POST", f"/v0/{TENANT}/deployments/service/{name}", order)


async def _die(esc: Esc, path: str, recovery: str, rng: Random) -> str:
    """One of its VMs is gone, if the answer says truly which there are."""
    try:
        shown = await esc.look(path)
    except (aiohttp.ClientError, ValueError):  # the answer went wrong for us instead
        return ""
    vms = [vm["vm_name"] for vm in shown.get("deployment_details", ())] if isinstance(shown, dict) else []
    if not vms:
        return ""
    return str((await esc.make(f"vms/{rng.choice(vms)}/die", {"recovery": recovery})).get("transaction", ""))
