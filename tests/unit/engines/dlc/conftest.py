"""Tests that need the extra ``dlc``, which tox installs; the real service is never asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# dlcservice.py, beside this file
sys.path.insert(0, str(Path(__file__).parent))
# Before the SDK is imported, which reads them once. A role of this machine is never asked for.
os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "the-id"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "the-secret"
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALIBABA_CLOUD_REGION_ID"):
    os.environ.pop(name, None)
