"""A run in other people's formats: Inspect's, OpenCompass', pytest-benchmark's."""
