"""How an ESC is asked: `[sources.NAME.esc]`. Values only, checked when settings are read. Must not know HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http:// or https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("is an address alone: no user, password, `?` or `#` in it")
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


class EscAccess(BaseModel):
    """The northbound API of one ESC, and who we are there."""

    # Deferred, because `Settings` is built with all its parts in it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: Url
    """As far as `/ESCManager`."""
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    password_file: Path | None = None
    """Read anew at each question."""
    ca_file: Path | None = None
    """Authorities, or the certificate itself, PEM, instead of the system's authorities."""
    verify: bool = True
    """Whether the certificate is looked at."""
    health_url: Url | None = None
    """ESC's own report (docs/esc-callbacks.md#10), for example https://esc:8060/esc/health."""

    @model_validator(mode="after")
    def _fits(self) -> EscAccess:
        if self.password is not None and self.password_file is not None:
            raise ValueError("esc: password and password_file are both given; only one can count")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("esc: username goes with password or password_file")
        return self

    def shown(self) -> dict[str, Any]:
        """Without the password."""
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        return chosen | ({"password": "(secret)"} if "password" in chosen else {})
