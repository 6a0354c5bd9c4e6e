"""Datasets that a task server has: how they are named, and what is a mistake in them."""

from __future__ import annotations

import pytest

from pytest_evalrun.suite.runconfig import eval_set_layer

MODELS = "models: [{name: m, adapter: ./my.py:Model}]\n"
CONTROLLER = "controller: http://127.0.0.1:5000/api\n"
NAMED = {
    "by the name": ("datasets: [{name: os, format: agentbench}]", {"os": "os"}),
    "by the task": ("datasets: [{task: os-std, format: agentbench}]", {"os-std": "os-std"}),
    "by both": ("datasets: [{name: os, task: os-std, format: agentbench}]", {"os": "os-std"}),
    "by a task of the suite": (
        "task: os-std\nformat: agentbench\ndatasets: [{name: os}, {name: few, limit: 3}]",
        {"os": "os-std", "few": "os-std"},
    ),
}


@pytest.mark.parametrize(("text", "tasks"), NAMED.values(), ids=NAMED)
def test_a_dataset_is_a_task(suite, text, tasks):
    """A dataset of a task server has no path; its task is called as it is, unless the suite says how."""
    pairs = suite(MODELS + CONTROLLER + text + "\n").discover().pairs
    assert {pair.dataset.name: pair.settings.task for pair in pairs} == tasks
    assert [pair.dataset.path for pair in pairs] == [f"task://{task}" for task in tasks.values()]


def test_an_imported_format_is_enough(suite):
    """The format may be said by whatever lies below the entries."""
    common = f"format: agentbench\n{CONTROLLER}"
    suite(f"import: common.yaml\n{MODELS}datasets: [{{name: os}}]\n", **{"common.yaml": common})
    (pair,) = suite.discover().pairs
    assert (pair.id, pair.dataset.is_task) == ("m/os", True)


def test_a_task_may_be_chosen_by_an_override(suite):
    """An override changes which task a dataset is, and not what it is called."""
    override = "overrides: [{match: 'm/*', task: os-std}]\n"
    suite(MODELS + CONTROLLER + "datasets: [{name: os, format: agentbench}]\n" + override)
    (pair,) = suite.discover().pairs
    assert (pair.id, pair.settings.task) == ("m/os", "os-std")


def test_nothing_is_protected_for_a_task(suite):
    """A task is no directory that others must stay out of."""
    text = MODELS + CONTROLLER + "datasets: [{name: os, format: agentbench}]\n"
    assert suite(text).discover().protected == ()


def test_where_two_say_it_the_controller_counts(suite):
    """Who has a controller starts none: `tasks` are then those of other pairs."""
    text = "tasks: {sql: {module: './my.py:Model'}}\ndatasets: [{name: os, format: agentbench}]\n"
    (pair,) = suite(MODELS + CONTROLLER + text).discover().pairs
    assert pair.settings.controller == "http://127.0.0.1:5000/api"


URLS = ["http://${HOST}:${PORT}/t/${TOKEN}/api", "${URL}", "https://tasks.example", "http://127.0.0.1:5000/t/${TOKEN}"]


@pytest.mark.parametrize("url", URLS)
def test_parts_of_a_url_may_be_secrets(suite, url):
    """What only the environment knows is no mistake."""
    suite(MODELS + f"datasets: [{{name: os, format: agentbench}}]\ncontroller: '{url}'\n")
    assert suite.settings("m/os").controller == url


def test_a_launch_may_choose_the_controller(suite):
    """Where a task server is may differ from machine to machine: the environment and the command line may say it."""
    suite(MODELS + "datasets: [{name: os, format: agentbench}]\n")
    environ = {"EVALRUN_CONTROLLER": "http://127.0.0.1:7/api"}
    assert suite.settings("m/os", environ=environ).controller == "http://127.0.0.1:7/api"
    chosen = [eval_set_layer(["controller=http://127.0.0.1:8/api"])]
    assert suite.settings("m/os", environ=environ, eval_set=chosen).controller == "http://127.0.0.1:8/api"


FILES = {
    "names": ("sql: {module: './my.py:Model'}\n", "tasks.yaml"),
    "start_task": ("definition: {import: more/names.yaml}\nstart: {sql: 2}\n", "start.yaml"),
}


@pytest.mark.parametrize(("text", "file"), FILES.values(), ids=FILES)
def test_tasks_of_a_file(suite, text, file):
    """AgentBench's own files say what tasks there are, with what they import."""
    more = {file: text, "more/names.yaml": "sql: {module: './my.py:Model', parameters: {n: 1}}\n"}
    suite(f"{MODELS}tasks: {file}\ndatasets: [{{name: sql, format: agentbench}}]\n", **more)
    assert suite.ids() == ["m/sql"]


def test_words_of_scripts_stay_theirs(suite):
    """`TASK` and `TASKS` in scripts and .run_config files have long meant something else."""
    suite("adapter: ./my.py:Model\ndiscover: {model_file_ext: .bin, in_subdir: in}\n")
    suite.write({"a/m.bin": "", "a/d/in/x": "", "a/.run_config": "TASK=detect\nCONTROLLER=left\n"})
    assert suite.settings("a/d").task is None


TASK = "datasets: [{name: sql, format: agentbench}]\n"
MISTAKES = {
    "no path": ("datasets: [{name: clean}]", ":2: datasets[0].path: is missing; accepted: the file or directory"),
    "format of an override": (
        "datasets: [{name: os}]\noverrides: [{match: '*', format: agentbench}]",
        ":2: datasets[0].path: is missing; accepted: the file or directory that has the samples; none for",
    ),
    "path of a task": (
        "datasets: [{path: clean.csv, format: agentbench}]",
        ":2: datasets[0].path: found next to format agentbench, whose samples a task server has; accepted: `task`",
    ),
    "no name": ("datasets: [{format: agentbench}]", ":2: datasets[0]: found neither name nor path; accepted: one of"),
    "data that become a task": (
        "datasets: [{path: clean.csv}]\noverrides: [{match: '*', format: agentbench}]",
        ":3: format: found 'agentbench' for data that have a path; accepted: an entry of `datasets` without path",
    ),
    "a task that becomes data": (
        TASK + "overrides: [{match: '*', format: csv}]",
        ":3: format: found 'csv' for a task of a task server; accepted: agentbench",
    ),
    "nobody serves it": (
        TASK,
        ":2: format: found no task server for the task 'sql'; accepted: `controller: http://HOST:5000/api`, or",
    ),
    "grpc": (
        TASK + "controller: grpc://127.0.0.1:5020",
        ":3: controller: found 'grpc://127.0.0.1:5020': gRPC is not spoken here; accepted: http://HOST:PORT/api",
    ),
    "no URL": (TASK + "controller: localhost:5000", ":3: controller: found 'localhost:5000'; accepted: http:"),
    "no URL with secrets": (
        TASK + "controller: 'grpc://${HOST}:5000/api'",
        ":3: controller: found 'grpc://${HOST}:5000/api': gRPC is not spoken here",
    ),
    "a token as it is": (
        TASK + "controller: http://127.0.0.1:5000/t/abcdefgh/api",
        ":3: controller: found a token as it is; accepted: ${NAME} of an environment variable",
    ),
    "no file of tasks": (TASK + "tasks: no.yaml", ":3: tasks: evals/no.yaml: cannot be read: No such file"),
    "not a file of tasks": (TASK + "tasks: evalrun.yaml", ":3: tasks: evalrun.yaml: models: found ["),
    "unknown task": (
        TASK + "tasks: {sqlite: {module: './my.py:Model'}, files: {module: a.B}}",
        ":2: task: found the unknown task 'sql'; did you mean 'sqlite'? accepted: files, sqlite",
    ),
    "no mapping": (TASK + "tasks: {sql: 3}", ":3: tasks: sql: found 3; accepted: module and parameters"),
    "no module": (
        TASK + "tasks: {sql: {parameters: {}}}",
        ":3: tasks: sql.module: found None; accepted: package.module.Class, ./file.py:Class",
    ),
    "no file of a module": (
        TASK + "tasks: {sql: {module: './no.py:Sql'}}",
        ":3: tasks.sql.module: './no.py:Sql': there is no file",
    ),
    "no name of a module": (
        TASK + "tasks: {sql: {module: 'a b'}}",
        ":3: tasks.sql.module: found 'a b'; accepted: ./file.py:Name, package.module:Name",
    ),
    "parameters that are none": (
        TASK + "tasks: {sql: {module: a.B, parameters: [1]}}",
        ":3: tasks: sql.parameters: found [1]; accepted: a mapping",
    ),
    "misspelt word": (
        TASK + "tasks:\n  sql:\n    module: a.B\n    worker: 2",
        ":6: tasks.sql.worker: unknown key; did you mean 'workers'? accepted: command, docker, module, parameters,",
    ),
    "no workers": (
        TASK + "tasks: {sql: {module: a.B, workers: 0}}",
        ":3: tasks.sql.workers: found 0; accepted: a number from 1",
    ),
    "other sessions": (
        TASK + "tasks: {sql: {module: a.B, sessions: fork}}",
        ":3: tasks.sql.sessions: found 'fork'; accepted: thread, process, loop",
    ),
    "nothing to take over": (
        TASK + CONTROLLER + "takeover: outputs/x",
        ":4: takeover: found 'outputs/x'; accepted: a directory that AgentBench's assigner wrote",
    ),
    "GPUs in a child process": (
        TASK + CONTROLLER + "gpus: 1",
        ":4: gpus: found 1 for an agent, which is asked in the worker's own process; accepted: `serve: …`",
    ),
    "shards": (
        TASK + CONTROLLER + "shards: 2",
        ":4: shards: found 2 for a task, whose samples one item asks side by side; accepted: `concurrency` of the",
    ),
    "shards of a size": (TASK + CONTROLLER + "shard_size: 100", ":4: shard_size: found 100 for a task, whose samples"),
    "a metric that compares": (
        TASK + CONTROLLER + "metrics: [success, exact_match]",
        ":4: metrics: found 'exact_match', which needs references, and the samples of a task have none; accepted: cost",
    ),
    "none at once": (
        TASK + CONTROLLER + "task_concurrency: 0",
        ":4: task_concurrency: found 0; accepted: greater than",
    ),
}


@pytest.mark.parametrize(("text", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_usage_errors(suite, text, problem):
    """What is wrong is told with its line, and with what is accepted."""
    assert problem in suite(MODELS + text + "\n").problem()


def test_only_agents_can_act(suite):
    """A kind of model that answers no conversation is refused, with those that do."""
    text = "models: [{name: m, adapter: command, command: 'true'}]\n" + CONTROLLER + TASK
    told = "evals/evalrun.yaml:1: adapter: found 'command', which cannot act; accepted: http, openai, a class of yours"
    assert [told] == [problem[: len(told)] for problem in suite(text).problems() if "adapter:" in problem]


def test_a_served_model_may_have_gpus(suite):
    """The program of `serve` has the GPUs, and the agent asks it."""
    model = "models: [{name: m, adapter: openai, gpus: 1, model: x, serve: 'python s.py {port}'}]\n"
    assert suite(model + CONTROLLER + TASK).ids() == ["m/sql"]


def test_circles_are_told(suite):
    """Files of AgentBench that import each other are told by their names."""
    suite(MODELS + TASK + "tasks: a.yaml\n", **{"a.yaml": "import: b.yaml\n", "b.yaml": "import: a.yaml\n"})
    assert "files that import each other in a circle: evals/a.yaml → evals/b.yaml → evals/a.yaml" in suite.problem()
