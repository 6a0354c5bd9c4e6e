"""Every mistake in a suite that is a usage error, and how it is told."""

from __future__ import annotations

import pytest

from pytest_evalrun import registry

PAIR = "models: [{name: m}]\ndatasets: [{path: clean.csv}]\n"
UNKNOWN_METRIC = (
    "evals/group/b/d1/.run_config:2: metrics: found the unknown name 'topp'; did you mean 'topk'? accepted: "
    f"{', '.join(sorted(registry.names(registry.METRICS)))}, ./file.py:Name, package.module:Name"
)
ASKED = "adapter: openai\nbase_url: http://127.0.0.1:1/v1\n" + PAIR
MISTAKES = {
    "unknown key": (
        "metric: [top1]\nmodels: []\ndatasets: []\n",
        "evals/evalrun.yaml:1: metric: unknown key; did you mean 'metrics'?",
    ),
    "unknown key of an entry": (
        "models:\n  - {name: m}\n  - name: n\n    pth: x\ndatasets: [{path: clean.csv}]\n",
        "evals/evalrun.yaml:4: models[1].pth: unknown key; did you mean 'path'?",
    ),
    "wrong type": (PAIR + "limit: x\n", ":3: limit: found 'x'; accepted: integer"),
    "unknown metric": (
        PAIR + "metrics: [top_1]\n",
        ":3: metrics: found the unknown name 'top_1'; did you mean 'top1'? accepted: ",
    ),
    "judge that is misspelt": (
        PAIR + "metrics:\n  - judge:\n      model: {modle: j, base_url: http://a/v1}\n",
        ":3: metrics.judge.model.modle: unknown key; did you mean 'model'?",
    ),
    "judge that is none": (
        PAIR + "metrics: [judge]\n",
        ":3: metrics.judge.model: found None; accepted: an endpoint, as in {model: NAME, base_url: ",
    ),
    "letters without options": (
        PAIR + "answer:\n  letter: true\n",
        ":4: answer.letter: found true without options; accepted: the letters such as ABCD, or `options: COLUMN`",
    ),
    "two ways to an answer": (
        PAIR + "answer:\n  first_line: true\n  regex: x\n",
        ":4: answer.first_line: found regex and first_line; accepted: one of letter, regex, after, json,",
    ),
    "no way to an answer": (
        PAIR + "answer: {strip: true}\n",
        ":3: answer: found no way to an answer; accepted: one of letter, regex,",
    ),
    "empty answer": (PAIR + "answer: {}\n", ":3: answer: found no way to an answer; accepted: one of letter, regex,"),
    "bad regex": (
        PAIR + "answer:\n  regex: '(x'\n",
        ":4: answer.regex: found '(x'; accepted: a regular expression of Python's (missing ), unterminated subpattern",
    ),
    "bad regex of one of several": (
        PAIR + "answer:\n  strict: {after: x}\n  loose:\n    regex: '*'\n",
        ":6: answer.loose.regex: found '*'; accepted: a regular expression of Python's (nothing to repeat",
    ),
    "bad path": (PAIR + "answer: {json: 'a..b'}\n", ":3: answer.json: found 'a..b'; accepted: "),
    "misspelt way": (
        PAIR + "answer:\n  loose: {regexp: x}\n",
        ":4: answer.loose.regexp: unknown key; did you mean 'regex'?",
    ),
    "misspelt single way": (PAIR + "answer: {regexp: x}\n", ":3: answer.regexp: unknown key; did you mean 'regex'?"),
    "letters that are none": (PAIR + "answer: {letter: '12'}\n", ":3: answer.letter: found '12'; accepted: letters"),
    "gate on one answer of several": (
        PAIR + "metrics: [top1]\nanswer: {strict: {after: x}, loose: {regex: x}}\ngates: {top1: {min: 1}}\n",
        ":5: gates.top1: the pair m/clean does not compute this metric; accepted: top1@loose, top1@strict, ",
    ),
    "metric called like the share without an answer": (
        PAIR + "metrics: [top1: {name: unanswered}]\nanswer: {after: x}\n",
        ":3: metrics: found 'unanswered', which says whether there is an answer; accepted: another `name: …`",
    ),
    "metric called like what lines of scores have besides": (
        PAIR + "metrics: [top1: {name: cluster}]\n",
        ":3: metrics: found 'cluster', which lines of scores have besides; accepted: another `name: …`",
    ),
    "more of k than generations": (
        PAIR + "generations: 2\nmetrics: [exact_match, pass_at: {k: [1, 5]}]\n",
        ":4: metrics: pass_at: k: found 5, of generations: 2; accepted: no more than those",
    ),
    "k that is no number": (
        PAIR + "generations: 2\nmetrics: [exact_match, pass_hat: {k: many}]\n",
        ":4: metrics: pass_hat: k: found 'many'; accepted: whole numbers from 1",
    ),
    "majority of an unknown metric": (
        PAIR + "metrics: [exact_match, majority: {of: exact_mach}]\n",
        ":3: metrics: majority: of: found 'exact_mach'; did you mean 'exact_match'? accepted: exact_match",
    ),
    "majority of nothing": (
        PAIR + "metrics: [majority]\n",
        ":3: metrics: majority is made of the scores of another metric; accepted: one more, such as exact_match",
    ),
    "missing metric file": (PAIR + "metrics: [./no.py:f]\n", ":3: metrics: './no.py:f': there is no file"),
    "unknown plugin": (
        PAIR + "post_process_plugin: snr\n",
        ":3: post_process_plugin: found the unknown name 'snr'; did you mean 'psnr'?",
    ),
    "unknown adapter": (
        PAIR + "adapter: onxx\n",
        ":3: adapter: found the unknown name 'onxx'; did you mean 'onnx'? accepted: command, http, onnx, openai, ",
    ),
    "missing adapter file": (
        "models: [{name: m, adapter: ./no.py:A}]\ndatasets: [{path: clean.csv}]\n",
        ":1: adapter: './no.py:A': there is no file",
    ),
    "no dotted path": (
        "models: [{name: m, adapter: a.b-c}]\ndatasets: [{path: clean.csv}]\n",
        ":1: adapter: found 'a.b-c'; accepted: ./file.py:Name",
    ),
    "unknown format": (
        "models: [{name: m}]\ndatasets: [{path: clean.csv, format: cvs}]\n",
        ":2: format: found the unknown name 'cvs'; did you mean 'csv'?",
    ),
    "type of a column": (
        PAIR + "format: csv\nreader:\n  types: {age: numbr}\n",
        ":5: reader.types.age: found 'numbr'; did you mean 'number'? accepted: boolean, integer, number, text",
    ),
    "types are a list": (
        PAIR + "format: csv\nreader: {types: [age]}\n",
        ":4: reader.types: found ['age']; accepted: columns with text, number, integer, boolean",
    ),
    "type of the ids": (
        PAIR + "format: csv\nid_column: key\nreader: {types: {key: integer}}\n",
        ":5: reader.types.key: found the id_column; accepted: other columns, for an id is text",
    ),
    "label that is a number": (
        PAIR + "output: {labels: [a, 1.0]}\n",
        ":3: output.labels[1]: found 1.0; accepted: text (a number needs quotes), or integer",
    ),
    "label that is a boolean": (
        PAIR + "output: {labels: [true, a]}\n",
        ":3: output.labels[0]: found True; accepted: ",
    ),
    "missing model": (
        "models:\n  - {path: no.bin}\ndatasets: [{path: clean.csv}]\n",
        ":2: models[0].path: found 'no.bin', which does not exist; looked for",
    ),
    "missing dataset": (
        "models: [{name: m}]\ndatasets: [{path: no.csv}]\n",
        ":2: datasets[0].path: found 'no.csv', which does not exist",
    ),
    "glob without match": (
        "models: [{path: '*.bin'}]\ndatasets: [{path: clean.csv}]\n",
        ":1: models[0].path: found '*.bin', which matches nothing below",
    ),
    "one name for many": (
        "models: [{name: m}]\ndatasets: [{name: d, path: '*.csv'}]\n",
        ":2: datasets[0].name: one name for 2 matches",
    ),
    "neither name nor path": (
        "models: [{limit: 1}]\ndatasets: [{path: clean.csv}]\n",
        ":1: models[0]: found neither name nor path",
    ),
    "models alone": (
        "adapter: onnx\nmodels: [{name: m}]\n",
        ":2: models: found models without datasets; accepted: both",
    ),
    "datasets alone": ("datasets: [{path: clean.csv}]\n", ":1: datasets: found datasets without models"),
    "nothing": (
        "adapter: onnx\n",
        "discover: nothing says where the models are; accepted: `models` and `datasets`, or `discover: {",
    ),
    "empty lists": ("models: []\ndatasets: []\n", ":1: models: models and datasets are empty"),
    "two layouts": (PAIR + "discover: {}\n", ":3: discover: found next to models"),
    "empty tree": (
        "discover: {model_file_ext: .nn, in_subdir: in}\n",
        "no pair was found: no directory at most 2 levels below evals holds a *.nn file",
    ),
    "refused name": (
        "models: [{name: -m}]\ndatasets: [{path: clean.csv}]\n",
        "task name '-m' is refused: it starts with '-'",
    ),
    "refused dataset": (
        "models: [{name: m}]\ndatasets: [{name: 0-250, path: clean.csv}]\n",
        "dataset name '0-250' is refused: shards",
    ),
    "refused suite": (
        "name: a/b\nmodels: [{name: m}]\ndatasets: [{path: clean.csv}]\n",
        "suite name 'a/b' is refused: it has a slash",
    ),
    "names equal up to case": (
        "models: [{name: M}, {name: m}]\ndatasets: [{path: clean.csv}]\n",
        "tasks 'M' and 'm' would have the same files",
    ),
    "override of nothing": (
        PAIR + "overrides: [{match: m/noisy, limit: 1}]\n",
        ":3: overrides[0].match: found 'm/noisy', which matches no pair; accepted: a pattern that fits one of m/clean",
    ),
    "gate without metric": (
        PAIR + "metrics: [top1]\ngates: {topk: {min: 1}}\n",
        ":4: gates.topk: the pair m/clean does not compute this metric; did you mean 'top1'? accepted: top1",
    ),
    "gate without metrics": (PAIR + "gates: {topk: {min: 1}}\n", "it has no metrics"),
    "gate without condition": (
        PAIR + "metrics: [top1]\ngates: {top1: {baseline: 1}}\n",
        ":4: gates.top1: the gate has no condition",
    ),
    "drop from nothing": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1}}\n",
        ":4: gates.top1: max_drop needs a baseline",
    ),
    "missing baseline": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1, baseline: old.csv}}\n",
        (
            ":4: gates.top1.baseline: found 'old.csv'; accepted: the name of a saved baseline or of a run, a number, "
            "or the CSV file of a summary; no file "
        ),
    ),
    "baseline that is the run itself": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1, baseline: latest}}\n",
        ":4: gates.top1.baseline: found 'latest', which is the very run that is judged; accepted: the name of a saved",
    ),
    "baseline that can be no name": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1, baseline: ..}}\n",
        ":4: gates.top1.baseline: baseline name '..' is refused",
    ),
    "drop of everything": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 100%, baseline: main}}\n",
        (
            ":4: gates.top1.max_drop: found '100%'; accepted: an amount from 0 in the metric's unit such as 0.01, or a "
            "share of the baseline such as 5%"
        ),
    ),
    "tier without condition": (
        PAIR + "metrics: [top1]\ngates: {top1: {tier: critical}}\n",
        ":4: gates.top1: the gate has no condition; accepted: min, max, max_drop with baseline",
    ),
    "unknown tier": (
        PAIR + "metrics: [top1]\ngate_rules: {tier: high}\n",
        ":4: gate_rules.tier: found 'high'; accepted: 'critical', 'supporting' or 'advisory'",
    ),
    "unknown rule": (
        PAIR + "metrics: [top1]\ngate_rules: {tiers: critical}\n",
        ":4: gate_rules.tiers: unknown key; did you mean 'tier'? accepted: cluster, confidence, tier, when_unsure",
    ),
    "confidence that no quantile belongs to": (
        PAIR + "metrics: [top1]\ngates: {top1: {min: 1, by: interval, confidence: 0.9999999999999999}}\n",
        ":4: gates.top1.confidence: found 0.9999999999999999; accepted: less than or equal to 0.999999",
    ),
    "confidence in percent": (
        PAIR + "metrics: [top1]\ngates: {top1: {min: 1, by: interval, confidence: 95}}\n",
        ":4: gates.top1.confidence: found 95; accepted: less than or equal to 0.999999",
    ),
    "confidence so near to 1 that its quantile is no number": (
        PAIR + "metrics: [top1]\ngate_rules: {confidence: 0.9999999999999999}\n",
        ":4: gate_rules.confidence: found 0.9999999999999999; accepted: less than or equal to 0.999999",
    ),
    "a drop beyond any float": (
        PAIR + f"metrics: [top1]\ngates: {{top1: {{max_drop: {10**400}, baseline: main}}}}\n",
        ":4: gates.top1.max_drop: found 1000",
    ),
    "interval of a drop": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1, baseline: main, by: interval}}\n",
        ":4: gates.top1.by: found 'interval', which is about min and max, and this gate has neither",
    ),
    "rule of intervals for a value": (
        PAIR + "metrics: [top1]\ngates: {top1: {min: 1, when_unsure: fail}}\n",
        (
            ":4: gates.top1.when_unsure: found 'fail', which does nothing without an interval: min and max are held "
            "against the value; accepted: `by: interval` beside them"
        ),
    ),
    "rule of intervals for a drop from a number": (
        PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 1, baseline: 0.5, confidence: 0.9}}\n",
        (
            ":4: gates.top1.confidence: found 0.9, which does nothing without an interval: of a number or a summary "
            "the value alone is known; accepted: a saved baseline or a run"
        ),
    ),
    "two metrics of one name": (
        PAIR + "metrics: [topk, {topk: {k: 3}}]\n",
        ":3: metrics: found two metrics called 'topk'",
    ),
    "missing script": (
        "script: no.sh\nmodels: [{name: m}]\ndatasets: [{path: clean.csv}]\n",
        ":1: script: found 'no.sh', which does not exist",
    ),
    "output of each dataset in a matrix": (
        PAIR + "out_subdir: out\n",
        ":3: out_subdir: found 'out', a directory of each dataset, which only the tree layout has",
    ),
    "missing import": ("import: no.yaml\n", ":1: import[0]: found 'no.yaml'; accepted: an existing .yaml"),
    "import of something else": ("import: my.py\n", ":1: import[0]: found 'my.py'; accepted: an existing .yaml"),
    "circle": ("import: evalrun.yaml\n", ":1: import[0]: found 'evalrun.yaml', which imports this file"),
    "tag": (
        "models: [{name: m, tags: [a-b]}]\ndatasets: [{path: clean.csv}]\n",
        ":1: models[0].tags[0]: found 'a-b'; accepted: a word",
    ),
    "no template": (
        ASKED + "prompt:\n  system: Hello\n  template: |\n    {{ question\n",
        ":7: prompt.template: not a Jinja2 template: ",
    ),
    "no template in a message": (
        ASKED + "prompt:\n  messages:\n    - {role: user, content: '{% if %}'}\n",
        ":6: prompt.messages[0].content: not a Jinja2 template: Expected an expression, got 'end of statement block'",
    ),
    "a message without content": (
        ASKED + "prompt: {messages: [{role: user}]}\n",
        ":5: prompt.messages[0]: found {'role': 'user'}; accepted: a mapping with `role` and `content`",
    ),
    "messages and a template": (
        ASKED + "prompt: {template: a, messages: []}\n",
        ":5: prompt.messages: found next to template; accepted: one of them",
    ),
    "a column that is no input": (
        ASKED + "format: csv\ninputs: [question, context]\nprompt: {template: '{{ questoin }}{{ context }}'}\n",
        ":7: prompt.template: no column 'questoin' among `inputs`; did you mean 'question'? accepted: context, quest",
    ),
    "options that are no input": (
        ASKED + "format: csv\ninputs: [question]\nprompt: {template: '{{ question }}', choices: options}\n",
        ":7: prompt.choices: no column 'options' among `inputs`; accepted: question",
    ),
    "pictures that are no input": (
        ASKED + "format: csv\ninputs: [question]\nprompt: {messages: [{role: user, content: [{image: photo}]}]}\n",
        ":7: prompt.messages: image: no column 'photo' among `inputs`; accepted: question",
    ),
    "examples from nowhere": (
        ASKED + "prompt: {fewshot: {n: 3}}\n",
        ":5: prompt.fewshot: found no file; accepted: `from: FILE` with examples",
    ),
    "unknown word of a prompt": (
        ASKED + "prompt: {fewshot: {form: dev.jsonl}}\n",
        ":5: prompt.fewshot.form: unknown key; did you mean 'from'?",
    ),
    "python tag": ("a: !!python/name:os.system x\n", ":1: found the tag"),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_usage_errors(suite, text, told):
    """One line that names the file, line, key, value and what is accepted."""
    assert told in suite(text).problem()


def test_columns_are_looked_for_in_each_dataset(suite):
    """What templates have is what the dataset at hand lists; what they ask for with care need not be there."""
    text = "format: csv\nadapter: openai\nbase_url: http://127.0.0.1:1/v1\nmodels: [{name: m}]\n"
    text += "prompt: {template: '{{ a }}{% if b is defined %}{{ b }}{% endif %}{{ c | default(1) }}{{ row }}'}\n"
    one, other = "{name: one, path: clean.csv, inputs: [a]}", "{name: other, path: noisy.csv, inputs: [%s]}"
    assert suite(f"{text}datasets: [{one}, {other % 'a, b'}]\n").ids() == ["m/one", "m/other"]
    told = suite(f"{text}datasets: [{one}, {other % 'b'}]\n").problem()
    assert ":5: prompt.template: no column 'a' among `inputs`; accepted: b, input, row" in told


def test_all_problems_are_told_at_once(suite):
    """Missing files, unknown names and refused names in one go."""
    suite(
        "metrics: [topp]\nadapter: onx\nmodels: [{path: no.bin}, {name: -m}]\ndatasets: [{path: clean.csv}]\n"
        "overrides: [{match: 'no/*', limit: 1}]\n"
    )
    problems = suite.problems(environ={"EVALRUN_LIMIT": "x"})
    assert [problem.partition(": ")[0] for problem in problems] == [
        "EVALRUN_LIMIT",
        "evals/evalrun.yaml:3",
        "evals/evalrun.yaml",
        "evals/evalrun.yaml:2",
        "evals/evalrun.yaml:1",
    ]


def test_two_models_in_one_task_are_told(tree):
    """Nobody guesses which one was meant."""
    tree.write({"a/n.bin": ""})
    assert tree.problem() == "evals/a: found 2 models (m.bin, n.bin); accepted: one *.bin"


def test_mistakes_in_run_configs_are_all_told(tree):
    """Task and dataset alike, and metrics that only a .run_config asks for."""
    tree.write({"a/.run_config": "LIMIT=x\n", "group/b/d1/.run_config": "A=1\nMETRICS=topp\n"})
    assert tree.problems() == [
        "evals/a/.run_config:1: LIMIT: found 'x'; accepted: integer",
        UNKNOWN_METRIC,
    ]


def test_gate_is_checked_against_the_metrics_of_each_pair(tree):
    """A gate may rest on a metric that only one task's .run_config asks for."""
    tree(
        "adapter: onnx\ndiscover: {model_file_ext: .bin, in_subdir: in}\n"
        "overrides: [{match: a/*, gates: {ssim: {min: 0.7}}}]\n"
    )
    assert "the pair a/d1 does not compute this metric" in tree.problem()
    tree.write({"a/.run_config": "POST_PROCESS_PLUGIN=ssim\n"})
    assert tree.ids() == ["a/d1", "a/d2", "group/b/d1"]


def test_a_plugin_of_the_users_script_is_no_mistake(suite):
    """Of a program it may be any word, and of another model one that nobody asks for."""
    program = "adapter: command\ncommand: [./run]\nresults: {csv: a.csv}\n"
    text = "models: [{name: m}]\ndatasets: [{path: clean.csv}]\n"
    assert suite(program + text + "post_process_plugin: plugin1\n").settings("m/clean").metrics == ()
    own = suite(text + "metrics: [mae]\npost_process_plugin: plugin1\n").settings("m/clean")
    assert [spec.name for spec in own.metrics] == ["mae"]


def test_a_mistake_that_many_pairs_share_is_told_once(tree):
    """Whether their own layers make each of them a case of its own; the first is named, the others counted."""
    tree("adapter: onnx\ndiscover: {model_file_ext: .bin, in_subdir: in}\ngates: {ssim: {min: 0.7}}\n")
    tree.write({"a/.run_config": "POST_PROCESS_PLUGIN=psnr\n", "a/d2/.run_config": "POST_PROCESS_PLUGIN=psnr\n"})
    told = tree.problems()
    assert len([line for line in told if "a/d1 (and 1 more) does not compute this metric" in line]) == 1
    assert len([line for line in told if "group/b/d1 does not compute this metric" in line]) == 1
    assert len(told) == 2


def test_gate_with_its_parts_in_two_layers(suite):
    """The baseline may lie below the drop that is measured from it."""
    suite(
        "metrics: [top1]\ngates: {top1: {baseline: base.csv}}\nmodels: [{name: m}]\ndatasets: [{path: clean.csv}]\n"
        "overrides: [{match: '*', gates: {top1: {max_drop: 0.1}}}]\n"
    ).write({"base.csv": ""})
    assert suite.settings("m/clean").gates["top1"].max_drop == 0.1


def test_a_baseline_that_is_not_saved_yet(suite):
    """A name that is nothing yet is no mistake: the run that is to become the baseline must be possible."""
    suite(PAIR + "metrics: [top1]\ngates: {top1: {max_drop: 5%, baseline: main}}\n")
    gate = suite.settings("m/clean").gates["top1"]
    assert (gate.baseline, gate.max_drop, gate.share) == ("main", "5%", 0.05)
    assert gate.is_saved(str(suite.root))


@pytest.mark.parametrize(
    ("own", "above"),
    [
        ("max_drop: 1, baseline: main, confidence: 0.9", "baseline: 0.5"),
        ("min: 1, by: interval, confidence: 0.9", "by: value"),
    ],
    ids=["baseline", "by"],
)
def test_a_word_that_a_layer_above_made_idle_is_no_mistake(suite, own, above):
    """Whoever tries another baseline from the command line need not unsay what the suite says."""
    suite(
        PAIR
        + f"metrics: [top1]\ngates: {{top1: {{{own}}}}}\noverrides: [{{match: '*', gates: {{top1: {{{above}}}}}}}]\n"
    )
    assert suite.settings("m/clean").gates["top1"].confidence == 0.9


def test_yaml_that_is_not_there(suite):
    """A file that vanished is told like any other mistake."""
    assert suite.problem() == "evals/evalrun.yaml: cannot be read: No such file or directory"
