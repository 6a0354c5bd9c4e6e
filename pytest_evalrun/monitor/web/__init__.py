"""The page of a run, live, from 127.0.0.1: ``evalrun view``."""
