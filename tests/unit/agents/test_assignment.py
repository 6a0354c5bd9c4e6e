"""Assignments of AgentBench as suites: their agents, their tasks, and which pairs there are."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.explain import explain
from pytest_evalrun.suite.foreign import is_suite
from pytest_evalrun.suite.published import dump, load

HERE = "configs/assignments/default.yaml: "
SUITE = "assignment: configs/assignments/default.yaml\n"
ASSIGNMENT = """\
import: definition.yaml
concurrency:
  task: {os-std: 5, db-std: 2}
  agent: {mine: 3, vicuna: 7}
assignments:
  - {agent: [mine, vicuna], task: os-std}
  - {agent: mine, task: db-std}
"""
FILES = {
    "configs/assignments/definition.yaml": """\
definition:
  task:
    overwrite: {module: src.client.TaskClient, parameters: {controller_address: "http://localhost:5000/api"}}
    import: ../tasks/task_assembly.yaml
  agent:
    import: [../agents/fs_agent.yaml, ../agents/mine.yaml]
""",
    "configs/tasks/task_assembly.yaml": """\
default: {docker: {command: umask 0;}}
os-std: {module: src.server.tasks.os.Os, parameters: {name: os-std, concurrency: 24}}
db-std: {module: src.server.tasks.db.Db, parameters: {name: db-std, concurrency: 1}}
""",
    "configs/agents/fs_agent.yaml": """\
default:
  module: src.client.agents.FastChatAgent
  parameters: {name: FastChat, controller_address: "http://localhost:8000/", max_new_tokens: 512, temperature: 0}
vicuna: {parameters: {model_name: vicuna-13b-v1.5}}
""",
    "configs/agents/mine.yaml": "mine: {module: src.agents.Mine, parameters: {depth: 3}}\n",
    "src/agents.py": "class Mine:\n    def inference(self, history): return ''\n",
}


class Project:
    """A project of AgentBench's with a suite in its directory."""

    def __init__(self, root) -> None:
        self.root = root

    def __call__(self, assignment=ASSIGNMENT, suite=SUITE, **more):
        named = {"configs/assignments/default.yaml": assignment, "evalrun.yaml": suite}
        for name, text in (FILES | named | more).items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self

    @property
    def suite(self):
        return discover(self.root / "evalrun.yaml", (), (), {})

    def settings(self, pair_id):
        return next(pair.settings for pair in self.suite.pairs if pair.id == pair_id)

    @property
    def problems(self):
        with pytest.raises(ConfigError) as caught:
            discover(self.root / "evalrun.yaml", (), (), {})
        return str(caught.value).splitlines()


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "bench"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return Project(root)


def test_pairs_are_those_assigned(project):
    """Only what is assigned is a pair, in the order in which it is."""
    assert [pair.id for pair in project().suite.pairs] == ["mine/os-std", "mine/db-std", "vicuna/os-std"]
    assert is_suite(str(project.root / "evalrun.yaml"))


def test_what_is_published_is_what_was_found(project):
    """Other processes of a launch hear of the run's name and the notes, too."""
    suite = project(ASSIGNMENT + 'output: "outputs/{TIMESTAMP}"\n').suite
    (read,) = load(dump([suite]))
    assert (read.run_name, read.notes, read.pairs) == (suite.run_name, suite.notes, suite.pairs)
    assert suite.run_name == "{TIMESTAMP}"


def test_tasks_are_datasets_of_their_controller(project):
    """A task is where its client looks for it, and takes as many samples at once as the assignment says."""
    settings = project().settings("mine/db-std")
    assert (settings.format, settings.task, settings.controller) == (
        "agentbench",
        "db-std",
        "http://localhost:5000/api",
    )
    assert settings.task_concurrency == 2


def test_an_agent_of_the_users_is_an_adapter(project):
    """Another class than AgentBench's own is the adapter, with its parameters."""
    settings = project().settings("mine/os-std")
    assert (settings.adapter, settings.params, settings.words) == ("src.agents.Mine", {"depth": 3}, {"concurrency": 3})


def test_fastchat_is_asked_by_openai(project):
    """FastChat's servers speak OpenAI's API."""
    settings = project().settings("vicuna/os-std")
    assert settings.adapter == "openai"
    assert dict(settings.words) == {
        "concurrency": 7,
        "model": "vicuna-13b-v1.5",
        "base_url": "http://localhost:8000/v1",
        "sampling": {"temperature": 0, "max_tokens": 512},
    }


HTTP = """\
mine:
  module: src.client.agents.HTTPAgent
  parameters:
    name: mine
    url: http://127.0.0.1:1/v1/chat/completions
    headers: {Authorization: "Bearer ${KEY}"}
    body: {model: m}
    prompter: {name: role_content_dict, args: {agent_role: assistant}}
    return_format: "{response[choices][0][message][content]}"
"""


def test_an_http_agent_is_one(project):
    """AgentBench's HTTPAgent is the kind `http`, with its parameters as words."""
    settings = project(**{"configs/agents/mine.yaml": HTTP}).settings("mine/os-std")
    assert settings.adapter == "http"
    assert dict(settings.words) == {
        "concurrency": 3,
        "url": "http://127.0.0.1:1/v1/chat/completions",
        "headers": {"Authorization": "Bearer ${KEY}"},
        "body": {"model": "m"},
        "prompter": {"name": "role_content_dict", "args": {"agent_role": "assistant"}},
        "return_format": "{response[choices][0][message][content]}",
    }


KEYS = {"as it is": "Bearer sk-abcdefghijkl", "to be put in": "Bearer <% PUT-YOUR-KEY-HERE %>"}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_are_read_from_the_environment(project, key):
    """A key in a file of AgentBench's is refused and not shown; an override gives it without a change of that file."""
    written = {"configs/agents/mine.yaml": HTTP.replace("Bearer ${KEY}", key)}
    told = project(**written).problems
    assert told == [
        HERE
        + "agent mine: headers.Authorization: found a text as it is; accepted: ${NAME} of an environment variable, "
        "as in 'Bearer ${API_KEY}'"
    ]
    override = "overrides: [{match: 'mine/*', headers: {Authorization: 'Bearer ${KEY}'}}]\n"
    settings = project(suite=SUITE + override, **written).settings("mine/os-std")
    assert settings.words["headers"] == {"Authorization": "Bearer ${KEY}"}


def test_explained_by_the_file_that_says_it(project):
    """Settings of an assignment name it, and those of the suite lie below them."""
    rows = {row.setting: row for row in explain(project(suite=f"{SUITE}metrics: [success]\n").suite.pairs[0])}
    assert rows["task"][1:] == ("os-std", "dataset entry", HERE + "task os-std")
    assert rows["concurrency"][1:] == (3, "model entry", HERE + "agent mine")
    assert rows["metrics"].layer == "suite"


SERVED = {
    "its controller": ("controller: http://127.0.0.1:7/api\n", "http://127.0.0.1:7/api", None),
    "its tasks": ("tasks: configs/tasks/task_assembly.yaml\n", None, "configs/tasks/task_assembly.yaml"),
}


@pytest.mark.parametrize(("text", "controller", "tasks"), SERVED.values(), ids=SERVED)
def test_the_suite_says_who_serves(project, text, controller, tasks):
    """What the suite says of its tasks goes before the address in their definitions."""
    project(suite=SUITE + text, **{"src/__init__.py": ""})
    settings = project.settings("mine/os-std")
    assert (settings.controller, settings.tasks) == (controller, tasks)


def test_tasks_that_are_no_clients_are_started(project):
    """Where a definition names the task itself, and no controller, it is started for the launch."""
    plain = "definition:\n  task: {import: ../tasks/task_assembly.yaml}\n  agent: {import: ../agents/mine.yaml}\n"
    few = ASSIGNMENT.replace("[mine, vicuna]", "mine").replace(", vicuna: 7", "")
    project(few, **{"configs/assignments/definition.yaml": plain})
    one, other = (project.settings(f"mine/{task}") for task in ("os-std", "db-std"))
    assert one.controller is None
    assert sorted(one.tasks) == ["db-std", "os-std"]
    assert one.tasks == other.tasks
    assert one.tasks["os-std"]["module"] == "src.server.tasks.os.Os"


def test_other_words_of_a_suite_hold(project):
    """Metrics, gates, overrides, tags and limits are those of any suite."""
    more = "metrics: [success]\nlimit: 3\ntags: [bench]\noverrides: [{match: 'mine/*', limit: 5, skip: later}]\n"
    pairs = {pair.id: pair for pair in project(suite=SUITE + more).suite.pairs}
    assert {name: pair.settings.limit for name, pair in pairs.items()} == {
        "mine/os-std": 5, "mine/db-std": 5, "vicuna/os-std": 3,
    }  # fmt: skip
    assert pairs["mine/os-std"].skip == "later"
    assert pairs["vicuna/os-std"].tags == ("bench",)


NOTES = {
    "assigned twice": (
        ASSIGNMENT + "  - {agent: mine, task: [os-std, db-std]}\n",
        [
            HERE + "assignments[2]: mine × os-std is assigned again; once is enough",
            HERE + "assignments[2]: mine × db-std is assigned again; once is enough",
        ],
    ),
    "not assigned": (
        ASSIGNMENT.replace("[mine, vicuna]", "mine"),
        [
            HERE + "agents that are defined and not assigned are left out: vicuna",
            HERE + "agents that are given a concurrency and not assigned are left out: vicuna",
        ],
    ),
    "all in order": (ASSIGNMENT, []),
}


@pytest.mark.parametrize(("assignment", "notes"), NOTES.values(), ids=NOTES)
def test_what_is_left_out_is_told(project, assignment, notes):
    """What an assignment says in vain changes nothing, and is told."""
    assert list(project(assignment).suite.notes) == notes


OUTPUTS = {
    "a time": ("outputs/{TIMESTAMP}", "{TIMESTAMP}"),
    "a date in a name": ("outputs/exp-{TIMESTAMP_DATE}_{TIMESTAMP_TIME}/", "exp-{TIMESTAMP_DATE}_{TIMESTAMP_TIME}"),
    "a date above": ("outputs/{TIMESTAMP_DATE}/exp", "exp"),
    "no time": ("outputs/exp", None),
}


@pytest.mark.parametrize(("output", "name"), OUTPUTS.values(), ids=OUTPUTS)
def test_output_names_the_run(project, output, name):
    """The last part of an output with a time in it is what a new run is called."""
    suite = project(ASSIGNMENT + f'output: "{output}"\n').suite
    assert suite.run_name == name
    assert suite.pairs[0].settings.takeover is None


def test_an_output_that_is_there_is_taken_over(project, tmp_path, monkeypatch):
    """A directory that the assigner began is one to carry on from: below where pytest runs, or beside the suite."""
    project(ASSIGNMENT + 'output: "outputs/exp"\n')
    (project.root / "outputs/exp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert project.suite.pairs[0].settings.takeover == str(project.root / "outputs/exp")
    (tmp_path / "outputs/exp").mkdir(parents=True)
    assert project.suite.pairs[0].settings.takeover == str(tmp_path / "outputs/exp")
    (project.root / "old").mkdir()
    project(ASSIGNMENT + 'output: "outputs/exp"\n', f"{SUITE}takeover: old\n")
    assert project.suite.pairs[0].settings.takeover == "old"


WRONG = {
    "no file": ({"suite": "assignment: no.yaml\n"}, "evalrun.yaml:1: assignment: found 'no.yaml', which is no file"),
    "beside models": (
        {"suite": f"{SUITE}models: [{{name: m}}]\n"},
        "evalrun.yaml:2: models: found next to assignment, which says what there is; accepted: one of them",
    ),
    "a circle": (
        {"configs/assignments/definition.yaml": "import: default.yaml\n"},
        "configs/assignments/definition.yaml:1: import: files that import each other in a circle",
    ),
    "an import that is gone": (
        {"assignment": "import: gone.yaml\n"},
        "configs/assignments/default.yaml:1: import: configs/assignments/gone.yaml: cannot be read",
    ),
    "no definition": (
        {"configs/assignments/definition.yaml": "x: 1\n"},
        HERE + "definition: is missing; accepted: definition: {agent: {NAME: …}, task: {NAME: …}}",
    ),
    "a definition that is none": (
        {"configs/assignments/definition.yaml": "definition: {agent: 3, task: {}}\n"},
        HERE + "definition.agent: found 3; accepted: a mapping from names",
    ),
    "no concurrency": (
        {"assignment": ASSIGNMENT.replace("concurrency:", "concurrencies:")},
        HERE + "concurrency: is missing; accepted: concurrency: {agent: {NAME: …}, task: {NAME: …}}",
    ),
    "no concurrency of an agent": (
        {"assignment": ASSIGNMENT.replace("mine: 3, ", "")},
        HERE + "concurrency.agent.mine: is missing; accepted: how many samples at once, from 1",
    ),
    "no concurrency of a task": (
        {"assignment": ASSIGNMENT.replace("os-std: 5", "os-std: 0")},
        HERE + "concurrency.task.os-std: found 0; accepted: how many samples at once, from 1",
    ),
    "no assignments": (
        {"assignment": ASSIGNMENT.partition("assignments:")[0]},
        HERE + "assignments: is missing; accepted: a list of {agent: NAME or names, task: NAME or names}",
    ),
    "assignments that are none": (
        {"assignment": ASSIGNMENT.partition("assignments:")[0] + "assignments: [mine]\n"},
        HERE + "assignments[0].agent: found None; accepted: a name, or a list of names",
    ),
    "an unknown agent": (
        {"assignment": ASSIGNMENT.replace("agent: mine,", "agent: mien,")},
        HERE + "assignments: found the unknown agent 'mien'; did you mean 'mine'? accepted: mine, vicuna",
    ),
    "an unknown task": (
        {"assignment": ASSIGNMENT.replace("task: db-std", "task: db-dev")},
        HERE + "assignments: found the unknown task 'db-dev'; did you mean 'db-std'? accepted: db-std, os-std",
    ),
    "an agent without module": (
        {"configs/agents/mine.yaml": "mine: {parameters: {}}\n"},
        HERE + "definition.agent.mine: module: found None; accepted: package.module.Class",
    ),
    "an agent that is no class of a module": (
        {"configs/agents/mine.yaml": "mine: {module: Mine}\n"},
        HERE + "definition.agent.mine: module: found 'Mine'; accepted: package.module.Class",
    ),
    "a key to be put into parameters": (
        {"configs/agents/mine.yaml": "mine: {module: src.agents.Mine, parameters: {api: [{key: '<% PUT-KEY %>'}]}}\n"},
        HERE + "definition.agent.mine.parameters.api.0.key: found a place for a key, <% … %>; accepted: ${NAME} of an",
    ),
    "a FastChat without address": (
        {"configs/agents/fs_agent.yaml": "vicuna: {module: src.client.agents.FastChatAgent}\n"},
        HERE + "definition.agent.vicuna.parameters: found no address; accepted: controller_address: http://HOST:PORT",
    ),
    "an output of another kind": (
        {"assignment": ASSIGNMENT + "output: [1]\n"}, HERE + "output: found [1]; accepted: the path of a directory",
    ),
    "another word in the output": (
        {"assignment": ASSIGNMENT + 'output: "o/{TIME}"\n'},
        HERE + "output: found {TIME}; accepted: {TIMESTAMP}, {TIMESTAMP_DATE}, {TIMESTAMP_TIME}",
    ),
    "no name of a run": (
        {"assignment": ASSIGNMENT + 'output: "{TIMESTAMP}/.hidden"\n'},
        HERE + "output: found '.hidden', which can be no run's name; accepted: DIRECTORY/{TIMESTAMP}",
    ),
    "grpc": (
        {"configs/assignments/definition.yaml": FILES["configs/assignments/definition.yaml"].replace("http:", "grpc:")},
        HERE + "task os-std: controller: found 'grpc://localhost:5000/api': gRPC is not spoken here",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "problem"), WRONG.values(), ids=WRONG)
def test_mistakes_are_usage_errors(project, files, problem):
    """What is wrong with an assignment is told with its file, its key, and what is accepted."""
    problems = project(**files).problems
    assert any(line.startswith(problem) for line in problems), problems
