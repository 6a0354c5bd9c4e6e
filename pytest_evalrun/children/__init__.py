"""Programs and models in processes of their own: supervised, asked in JSON lines, ended with all they began."""

from __future__ import annotations
