"""What settings leave open to anybody beyond this machine: one line each, for the log, `/readyz` and `refuse_open`.

Must not know who says it, nor how access is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from receiver.config.addresses import admin_address, callback_address
from receiver.config.settings import Settings


def open_doors(settings: Settings) -> Iterator[str]:
    """What anybody may do who reaches the address that is served on, or a proxy before it."""
    admin = admin_address(settings) or callback_address(settings)
    if not settings.read_tokens and (where := _beyond(settings, admin.host)):
        yield f"the query API and the board are {where} with no read_tokens: anybody can read, raw bodies too"
    for name, source in settings.all_sources.items():
        if source.esc and not source.esc.verify:
            yield f"source {name}: the certificate of its ESC is not verified (verify = false)"
    if not (where := _beyond(settings, settings.host)):
        return
    for name, source in settings.all_sources.items():
        if not (source.protected or settings.tls_client_ca_file):
            yield f"source {name} is {where} with no token, basic, allow or certificate: anybody can post to it"


def _beyond(settings: Settings, host: str) -> str:
    if not _is_loopback(host):
        return "served beyond loopback"
    return "served through a proxy (trusted_proxies)" if settings.trusted_proxies else ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
