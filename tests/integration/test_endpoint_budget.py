"""What two sessions and their workers have in flight at one endpoint, as the endpoint itself counts it."""

from __future__ import annotations

import json

import pytest
from llmserver import llm_server
from support import Project

WORKERS = 2


@pytest.fixture
def sessions(tmp_path):
    """Two projects with a pair for each of two workers, whose models are behind one endpoint."""

    def make(url: str, samples: int, **words: object) -> list[Project]:
        names = [f"d{number}" for number in range(WORKERS)]
        projects = [Project(tmp_path / name) for name in ("first", "second")]
        for project in projects:
            project.make(models=(), datasets=names)
            for name in names:
                rows = [{"x": f"{project.root.name} {name} {i}", "y": "blue"} for i in range(samples)]
                (project.suite / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            model = {"name": "a", "model": "ngram", "base_url": url, **words}
            project.yaml((), names, adapter="openai", models=[model])
        return projects

    return make


def test_two_sessions_have_one_budget(sessions):
    """Two sessions of two workers each with a concurrency of 20: the endpoint sees 20 at once, and never more."""
    with llm_server("--canned", "blue", "--delay", "0.05") as server:
        projects = sessions(server.url, 100, concurrency=20)
        running = [project.start("evals", "-n", str(WORKERS)) for project in projects]
        outputs = [process.communicate(timeout=300)[0] for process in running]

        assert [process.returncode for process in running] == [0, 0], outputs
        stats = server.stats()
        assert (stats["requests"], stats["most"]) == (400, 20)


def test_adaptive_concurrency_finds_what_is_allowed(sessions):
    """An endpoint that allows 20 at once refuses a wave or two, not a third of all; the events say why."""
    with llm_server("--canned", "blue", "--delay", "0.05", "--fault", "429=beyond:20") as server:
        project, _ = sessions(server.url, 500, concurrency="10-20-100")
        ran = project.run("evals", "-n", str(WORKERS))

        assert ran.code == 0, ran
        refused = server.stats()["refused"].get("429", 0)
        assert 0 < refused <= 120
        changes = [event for event in project.events() if event["event"] == "limit_changed"]
        assert {"endpoint": server.url, "limit": 40, "was": 20}.items() <= changes[0].items()
        assert any("rate limit" in change["reason"] and change["limit"] < change["was"] for change in changes)
