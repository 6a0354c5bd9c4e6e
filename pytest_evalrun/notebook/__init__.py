"""Runs as pandas DataFrames, for notebooks: what ``import pytest_evalrun as er`` gives."""
