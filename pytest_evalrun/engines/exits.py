"""Exit codes by which a job tells its launch how it ended; 0, 1 and 5 are pytest's, and all its items are reported."""

from __future__ import annotations

# Ended by a signal, after the batch at hand: nothing is wrong, the rest is to be run by another job.
GO_ON_LATER = 75
# Refused before anything was run: a directory that the node does not see, another version, settings that changed.
CANNOT_BEGIN = 78
