"""The errors between this host and a board, beside those of errors.py."""

from __future__ import annotations

from pytest_evalrun.errors import ConfigError, PairError


class LinkLost(ConnectionError):  # noqa: N818 - what happened; its base says that it is an error, and one that may pass
    """The connection to a board is gone, or could not be made; trying again may help."""


class Refused(ConfigError):  # noqa: N818 - what happened
    """A board that answers, and does not let us in; others may."""


class BoardError(PairError):
    """A board did not do what it was asked: no space, no right, no such program; the message holds its own words."""


class BoardGone(PairError):  # noqa: N818 - as above
    """A board was given up, and set aside with the reason: who was at work there goes on with another one."""


class ArrivedWrong(ConnectionError):  # noqa: N818 - as above
    """A file arrived that is not what was sent; it was thrown away, and trying again may help."""


# What trying again may help against.
LOST = (LinkLost, ArrivedWrong)
