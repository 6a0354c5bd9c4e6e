"""The page of a run, one file: who it is for looks before they read."""
