"""What commands do first: read the settings in force and set up logging by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ifd_fast.config import Settings

__all__ = ["start"]


def start(profile: str | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Return the settings in force; logging has their level and format from here on."""
    from ifd_fast.config import load_settings
    from ifd_fast.logs import get_logger, set_up_logging

    settings = load_settings(profile, overrides)
    set_up_logging(settings.profile.log_level, settings.profile.log_format)
    get_logger("ifd").debug("settings in force", profile=settings.name, digest=settings.digest)
    return settings
