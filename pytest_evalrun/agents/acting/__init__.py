"""Agents: a model behind an endpoint, an HTTP API, a class of the user."""

from __future__ import annotations
