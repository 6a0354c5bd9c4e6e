"""Sums as a task of AgentRL's: two questions a sample, answered by calling a tool."""

from __future__ import annotations

import json

from agentrl.worker.task import Task
from agentrl.worker.typings import RewardHistoryItem, SampleStatus, TaskSampleExecutionResult
from questions import INDICES, TOOL, first_question, is_right, second_question


class TheirSums(Task):
    def __init__(self, name="theirs", concurrency=3):
        super().__init__(name=name, concurrency=concurrency, tools=[TOOL], full_async=True)

    def get_indices(self):
        return INDICES

    async def start_sample(self, index, session):
        acted = await session.action({"role": "user", "content": first_question(index)})
        call = acted.messages[-1]["tool_calls"][0]
        first = json.loads(call["function"]["arguments"])["value"]
        acted = await session.action(*second_question(index, call["id"]))
        second = json.loads(acted.messages[-1]["tool_calls"][0]["function"]["arguments"])["value"]
        reward = float(is_right(index, first, second))
        session.inject(RewardHistoryItem(reward=reward, metrics={"second": second}))
        return TaskSampleExecutionResult(status=SampleStatus.COMPLETED, result={"second": second})

    def calculate_overall(self, results):
        return {"count": len(results)}
