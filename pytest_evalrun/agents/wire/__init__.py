"""How servers of tasks and their clients speak: two dialects, doors, addresses, connections."""

from __future__ import annotations
