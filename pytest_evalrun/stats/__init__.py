"""Paired comparison, intervals, power: numpy and math, and nothing of this project; higher is better throughout."""
