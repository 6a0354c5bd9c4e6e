"""Tests that need the extra ``dlc``, which tox installs; the real service is never asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# dlcservice.py, beside this file, and support.py
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "integration")]
# Before the SDK is imported, which reads them once. A role of this machine is never asked for.
os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "the-id"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "the-secret"
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALIBABA_CLOUD_REGION_ID"):
    os.environ.pop(name, None)
