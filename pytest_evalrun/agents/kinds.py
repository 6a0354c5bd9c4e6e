"""Agents behind an HTTP API of their own as a kind: AgentBench's HTTPAgent."""

from __future__ import annotations

from pytest_evalrun.suite.settings import ModelKind


class Http(ModelKind):
    """An agent that is asked by HTTP, in the form that its settings say."""

    version = 1
    can_act = True
