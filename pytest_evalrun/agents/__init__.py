"""Agents and their tasks: a task server that AgentBench's world plugs into, and agents that are asked turn by turn.

Nothing here imports pytest.
"""
