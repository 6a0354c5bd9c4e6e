"""Language models behind an OpenAI-compatible endpoint: what is sent, how much at once, and what comes back."""

from __future__ import annotations
