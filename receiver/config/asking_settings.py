"""Settings about asking ESCs (docs/reconcile.md); a part of `settings`, which says how they are read."""

from __future__ import annotations

from pydantic import BaseModel, NonNegativeFloat, PositiveFloat, PositiveInt

from receiver.config.setting import setting


class AskingSettings(BaseModel):
    """Names and units as everywhere."""

    reconcile_every_s: NonNegativeFloat = setting(
        3600,
        "How often an ESC with `esc` among its `sources` is asked for all its deployments, and at start; 0: never.",
    )
    reconcile_rate_per_s: PositiveFloat = setting(2, "Most questions a second to one ESC.")
    reconcile_timeout_s: PositiveFloat = setting(30, "Time for one answer of an ESC.")
    reconcile_bytes_max: PositiveInt = setting(16_777_216, "Largest answer of an ESC; beyond it nothing is read.")
    reconcile_confirm_s: NonNegativeFloat = setting(
        60, "Time after which an ESC is asked again before it is believed that it lacks one deployment, or many."
    )
    reconcile_gone_max: float = setting(
        0.1, "Largest share of the deployments of an ESC, and at least 3, that may be found gone without `--yes`.",
        ge=0, le=1,
    )  # fmt: skip
    reconcile_retry_s: PositiveFloat = setting(15, "First pause before an ESC that could not be asked is asked again.")
    reconcile_retry_max_s: PositiveFloat = setting(600, "Longest such pause; and that after a 401.")
