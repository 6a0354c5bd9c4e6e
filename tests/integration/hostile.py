"""Suites whose names, samples, answers, errors and labels do what they can to run in the page that shows them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from browser import EVIL

if TYPE_CHECKING:
    from support import Project

RUN = f"window.{EVIL}=1"
# What closes where it stands, what is run as an element or an attribute, what turns a parser or a reader round.
PAYLOADS = (
    f"</script><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'"><svg/onload="{RUN}">',
    f"' autofocus onfocus={RUN} x='",
    f'<iframe srcdoc="<script>parent.{EVIL}=1</script>"></iframe>',
    f"javascript:{RUN}",
    "<!--<script>",
    "]]></style></title></textarea><!--",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    "{{ 7 * 7 }}{% for x in range(3) %}x{% endfor %}",
    '<link rel=stylesheet href=http://203.0.113.1/x.css><base href="http://203.0.113.1/">',
    "<form action=http://203.0.113.1/><button>Go</button></form>",
    '{"__proto__": {"polluted": 1}}',
    "${7*7} `x` \\u003cscript\\u003e \\",
    "$& $` $' $1 \\1",  # what replaces in a text of JavaScript
)
# Of these no character may reach the page: they turn the direction of writing, end lines or drive terminals.
TURNING = (
    "safe\u202egnp.exe\u202c",
    "\u2066left\u2069",
    "\x1b]8;;http://203.0.113.1\x07link\x1b]8;;\x07",
    "a\u2028b\u2029c",
)
TURNS = "\u202e\u202c\u2066\u2069\x1b\x07\u2028\u2029"

MODEL = """
class Model:
    def __init__(self, path=None, broken=False):
        self.broken = broken

    def load(self):
        if self.broken:
            raise ValueError("loading " + self.broken)

    def predict_one(self, sample):
        if str(sample.input).startswith("fail "):
            raise ValueError(str(sample.input))
        return "answer " + str(sample.input)
"""
# Its metric's name and the labels of its confusion matrix are the payloads, too.
TEST = """
def test_hostile(evaluation):
    evaluation.record({name!r}, 0.5)
"""

SUITE = f"<script>{RUN}"
TASK = f"a</script><script>{RUN}<"
DATASET = f"<img src=x onerror={RUN}>"
BROKEN = f"'\"><svg onload={RUN}>"


def hostile(project: Project) -> Project:
    """Two models x two datasets: one model cannot be loaded, of one dataset each second sample fails."""
    project.suite.mkdir(parents=True, exist_ok=True)
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.suite / "model.py").write_text(MODEL)
    (project.suite / "test_hostile.py").write_text(TEST.format(name=f"<img src=x onerror={RUN}>"))
    for name in ("plain", "failing"):
        lines = (json.dumps(line) + "\n" for line in _samples(fails=name == "failing"))
        (project.suite / f"{name}.jsonl").write_text("".join(lines))
    suite = {
        "name": SUITE,
        "models": [
            {"name": TASK, "adapter": "./model.py:Model", "tags": ["x"]},
            {"name": BROKEN, "adapter": "./model.py:Model", "params": {"broken": PAYLOADS[0]}},
        ],
        "datasets": [
            {"name": DATASET, "path": "plain.jsonl"},
            {"name": "failing", "path": "failing.jsonl", "max_failed": 10},
        ],
        "format": "jsonl",
        "id_column": "id",
        "inputs": ["x"],
        "reference": "y",
        "metrics": ["exact_match", "confusion"],
        "gates": {"exact_match": {"min": 0.9}},
        "retries": 0,
    }
    (project.suite / "evalrun.yaml").write_text(json.dumps(suite, ensure_ascii=False, indent=1))
    return project


def _samples(*, fails: bool) -> list[dict[str, str]]:
    """Each payload as id, input and reference; every third reference is what is answered."""
    texts = [*PAYLOADS, *TURNING]
    inputs = [f"fail {text}" if fails and number % 2 else text for number, text in enumerate(texts)]
    return [
        {"id": f"{number} {text}", "x": asked, "y": f"answer {asked}" if number % 3 == 0 else text}
        for number, (text, asked) in enumerate(zip(texts, inputs, strict=True))
    ]


def long_lines(project: Project, size: int = 1_000_000) -> Project:
    """Three samples whose input, answer and reference are lines of so many characters each, one without a blank."""
    project.make(samples=0, id_column="id")
    lines = [
        {"id": name, "x": text, "y": text if name == "words" else "z" * size}
        for name, text in (("words", "word " * (size // 5)), ("solid", "x" * size), ("tags", "<b>" * (size // 3)))
    ]
    (project.suite / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return project


def many_pairs(project: Project) -> Project:
    """50 models x 10 datasets of two samples."""
    return project.make([f"m{number:02}" for number in range(50)], [f"d{number}" for number in range(10)], samples=2)
