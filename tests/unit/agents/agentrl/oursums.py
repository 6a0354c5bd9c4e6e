"""Sums as a task of ours: the same questions, the same end."""

from __future__ import annotations

import json

from questions import INDICES, TOOL, first_question, is_right, second_question


class OurSums:
    concurrency = 3
    tools = (TOOL,)

    def get_indices(self):
        return INDICES

    async def start_sample(self, index, session):
        acted = await session.action({"role": "user", "content": first_question(index)})
        if acted.status != "normal":
            return {"status": acted.status}
        call = acted.message["tool_calls"][0]
        first = json.loads(call["function"]["arguments"])["value"]
        acted = await session.action(*second_question(index, call["id"]))
        second = json.loads(acted.message["tool_calls"][0]["function"]["arguments"])["value"]
        reward = float(is_right(index, first, second))
        return {
            "status": "completed",
            "result": {"second": second},
            "reward": reward,
            "metrics": {"second": second},
        }
