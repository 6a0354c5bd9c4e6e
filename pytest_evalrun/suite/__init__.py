"""evalrun.yaml and .run_config: settings, tasks, datasets, pairs."""

from __future__ import annotations
