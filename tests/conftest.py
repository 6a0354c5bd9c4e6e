from __future__ import annotations

import hypothesis

# How long an example takes says something about the machine, and nothing about a law.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")
