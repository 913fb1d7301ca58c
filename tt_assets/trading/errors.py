"""What can be wrong with a training or an episode from the outside: settings, history, a policy that does not fit."""

from __future__ import annotations

from tt_assets.errors import UserError


class ConfigError(UserError):
    """A trading setting is unknown, missing or out of its range."""


class NotEnoughHistory(UserError):
    """The span holds fewer sessions than training or rolling needs."""


class UnsupportedOnTensorTrade(UserError):
    """The setting exists on the simulator only."""


class PolicyMismatch(UserError):
    """A stored policy is damaged, or was trained on other instruments, channels or settings than are offered."""


class NotFinite(UserError):
    """A weight, a reward or a net worth became NaN or infinite; the episode stops there."""
