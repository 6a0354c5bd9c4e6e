"""Jobs on other machines: what a cluster is asked, and what becomes of the units of a launch on it."""
