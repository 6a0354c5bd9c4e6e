"""examples/llm: benchmarks that a suite imports, run on rows of our own, and endpoints that it only has to name."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_evalrun.suite.discovery import discover

EXAMPLES = Path(__file__).parents[2] / "examples" / "llm"


@contextmanager
def answering(answers):
    """An endpoint that knows what to say to a last message that has a text in it; ``asked`` grows."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            last = body["messages"][-1]["content"]
            (said,) = [said for text, said in answers.items() if text in last]
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            reply = {
                "id": "1",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [choice],
                "usage": usage,
            }
            content = json.dumps(reply).encode()
            self.send_response(200)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def evaluated(project):
    """``evaluated(name, rows, answers)``: the metrics of a suite that imports an example, and what was asked."""

    def run(name, rows, answers, task="a", **top):
        shutil.copytree(EXAMPLES, project.root / "examples" / "llm")
        project.make(models=(), datasets=("rows",))
        (project.suite / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with answering(answers) as (url, asked):
            suite = {
                "import": f"../../examples/llm/{name}.yaml",
                "adapter": "openai",
                "models": [{"name": "a", "model": "known", "base_url": url}],
                "datasets": [{"name": "rows", "format": "jsonl", "path": "rows.jsonl"}],
            }
            (project.suite / "evalrun.yaml").write_text(json.dumps(suite | top))
            ran = project.run()
        assert ran.code == 0, ran
        assert len(asked) == len(rows), ran
        return {name: metric["value"] for name, metric in project.result(task, "rows")["metrics"].items()}, asked

    return run


# What is asked, how it is reckoned, the number, and what the model says.
SUMS = [
    ("A box has 3 red and 4 blue pens. How many pens?", "3 + 4 = 7", "7", "3 and 4 make 7.\n#### 7"),
    ("Two weeks have how many days?", "2 * 7 = 14", "14", "#### 14 days, or 336 hours"),
    ("A dozen eggs less five?", "12 - 5 = 7", "7", "12 - 5 = 7, so 7."),
    ("How many cents are 12 dollars?", "12 * 100 = 1200", "1200", "#### $1,200.00"),
    ("Half of 9?", "9 / 2 = 4.5", "4.5", "The half is\n#### 4.5\n"),
    ("A thousand times 25?", "25 * 1000 = 25000", "25,000", "#### 25000"),
    ("3 cars have how many wheels?", "3 * 4 = 12", "12", "#### 16"),
    ("10 less than 4?", "4 - 10 = -6", "-6", "That is below zero.\n#### -6"),
    ("Minutes in an hour?", "1 hour has 60", "60", "#### 30\nNo, that is wrong.\n#### 60"),
    ("Legs of 2 spiders?", "2 * 8 = 16", "16", "Many."),
]


def test_gsm8k(evaluated):
    """Seven of ten end with the right number; six of ten write it behind the mark, as they were told to."""
    rows = [{"question": question, "answer": f"{way}\n#### {number}"} for question, way, number, _ in SUMS]
    values, asked = evaluated("gsm8k", rows, {question: said for question, _, _, said in SUMS})
    # Wrong by either: wheels and spiders. By the mark: eggs have none, nor have dollars. By the last number: weeks.
    assert values["number@strict"] == 0.6
    assert values["number@flexible"] == 0.7
    assert (values["unanswered@strict"], values["unanswered@flexible"]) == (0.3, 0.1)
    assert asked[0]["messages"][0]["content"].endswith('on the last line, after "#### ".')
    assert (asked[0]["temperature"], asked[0]["max_tokens"]) == (0, 1024)


QUESTIONS = [
    ("Which planet is nearest to the sun?", ["Venus", "Mercury", "Mars", "Earth"], 1, "B"),
    ("Which of these is a moon?", ["Titan", "Venus", "Sirius", "Vega"], 0, "A. Titan"),
    ("What is at the centre of the solar system?", ["Earth", "Jupiter", "The moon", "The sun"], 3, "Answer: D"),
    ("Which planet is called red?", ["Venus", "Saturn", "Mars", "Neptune"], 2, "**C**"),
    ("How long does the earth take around the sun?", ["A day", "A month", "A year", "A decade"], 2, "(C)"),
    ("What is the Milky Way?", ["A galaxy", "A planet", "A comet", "A moon"], 0, "The answer is A."),
    ("Which is the largest planet?", ["Earth", "Jupiter", "Mars", "Uranus"], 1, "D"),
    ("What has a tail of gas and dust?", ["A comet", "A planet", "A moon", "A star"], 0, "B"),
    ("What shines by itself?", ["The moon", "Mars", "Venus", "The sun"], 3, "E"),
    ("Which planet has the widest rings?", ["Saturn", "Mars", "Venus", "Earth"], 0, "I do not know."),
]
SHOWN = [
    ("What do we call a group of stars?", ["A constellation", "A tide", "An orbit", "A crater"], 0),
    ("What pulls things to the ground?", ["Light", "Gravity", "Sound", "Heat"], 1),
]


def test_mmlu(evaluated, project):
    """Six of ten letters are right; one is none of the options, and one is none at all. Examples come first."""
    rows = [
        {"question": question, "subject": "high_school_astronomy", "choices": choices, "answer": answer}
        for question, choices, answer, _ in QUESTIONS
    ]
    shown = [
        {"question": question, "subject": "high_school_astronomy", "choices": choices, "answer": answer}
        for question, choices, answer in SHOWN
    ]
    project.suite.mkdir(parents=True)
    (project.suite / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown))
    fewshot = {"from": "dev.jsonl", "n": 2, "answer": "{{ 'ABCD'[answer] }}"}
    assert fewshot["answer"] in (EXAMPLES / "mmlu.yaml").read_text()
    said = {question: letter for question, _, _, letter in QUESTIONS}
    values, asked = evaluated("mmlu", rows, said, task="a@2shot", prompts={"2shot": {"fewshot": fewshot}})
    assert values == {"choice": 0.6, "unanswered": 0.2}
    messages = asked[0]["messages"]
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert "about high school astronomy" in messages[0]["content"]
    assert messages[3]["content"].startswith("What pulls things to the ground?\nA. Light\nB. Gravity\n")
    assert (messages[2]["content"], messages[4]["content"]) == ("A", "B")


def at_least(**number):
    return {**number, "relation": "at least"}


NO_WIND = {
    "keywords:existence": {"keywords": ["rain"]},
    "keywords:forbidden_words": {"forbidden_words": ["wind"]},
}
SHOUT = {"change_case:english_capital": {}, "startend:end_checker": {"end_phrase": "STOP"}}
# What is asked, how it is checked, and what the model says: the third has four words, the eighth no quotes.
INSTRUCTIONS = [
    ("Name a fruit, in small letters.", {"change_case:english_lowercase": {}}, "an apple"),
    ("Greet me, without a comma.", {"punctuation:no_comma": {}}, "Hello there!"),
    (
        "Write a poem of at least five words.",
        {"length_constraints:number_words": at_least(num_words=5)},
        "Roses are red.",
    ),
    ("List two colours.", {"detectable_format:number_bullet_lists": {"num_bullets": 2}}, "* red\n* blue"),
    ("Say what a key does, as JSON.", {"detectable_format:json_format": {}}, '```json\n{"key": "opens"}\n```'),
    ("Speak of rain, and not of wind.", NO_WIND, "The rain falls, windows are wet."),
    ("Shout, and end with STOP.", SHOUT, "GO NO FURTHER! STOP"),
    ("Quote yourself.", {"startend:quotation": {}}, "I said so."),
    ("Two parts, please.", {"length_constraints:number_paragraphs": {"num_paragraphs": 2}}, "One.\n***\nTwo."),
    ("Give a title.", {"detectable_format:title": {}}, "<<The end>>\nIt ends."),
]


def test_ifeval(evaluated):
    """Eight of ten prompts have all of their instructions followed. Mappings have the keys of all, as in tables."""
    keys = {key for _, checks, _ in INSTRUCTIONS for options in checks.values() for key in options}
    rows = [
        {
            "key": 1000 + place,
            "prompt": prompt,
            "instruction_id_list": list(checks),
            "kwargs": [dict.fromkeys(keys) | options for options in checks.values()],
        }
        for place, (prompt, checks, _) in enumerate(INSTRUCTIONS)
    ]
    values, asked = evaluated("ifeval", rows, {prompt: said for prompt, _, said in INSTRUCTIONS})
    assert values == {"strict": 0.8}
    assert asked[0]["messages"] == [{"role": "user", "content": asked[0]["messages"][0]["content"]}]
    assert {body["messages"][0]["content"] for body in asked} == {prompt for prompt, _, _ in INSTRUCTIONS}


def checks():
    from pytest_evalrun.suite.objects import load_object

    return load_object("./ifeval.py:CHECKS", str(EXAMPLES))


FOLLOWED = {
    "change_case:capital_word_frequency": (
        "ONE or TWO",
        "one or two",
        {"capital_frequency": 2, "capital_relation": "at least"},
    ),
    "change_case:english_capital": ("GO ON!", "Go on!", {}),
    "change_case:english_lowercase": ("go on!", "Go on!", {}),
    "combination:repeat_prompt": ("Say it. It.", "It.", {"prompt_to_repeat": "Say it."}),
    "combination:two_responses": ("one\n******\ntwo", "one\n******\none", {}),
    "detectable_content:number_placeholders": ("[name] at [place]", "[name]", {"num_placeholders": 2}),
    "detectable_content:postscript": ("Done.\nP. S. More.", "Done.", {"postscript_marker": "P.S."}),
    "detectable_format:constrained_response": ("My answer is yes.", "Yes.", {}),
    "detectable_format:json_format": ("```json\n[1]\n```", "[1", {}),
    "detectable_format:multiple_sections": (
        "SECTION 1\na\nSECTION 2\nb",
        "SECTION 1",
        {"section_spliter": "SECTION", "num_sections": 2},
    ),
    "detectable_format:number_bullet_lists": ("* a\n- b", "* a\n* b\n* c", {"num_bullets": 2}),
    "detectable_format:number_highlighted_sections": ("*a* and **b**", "*a* and **", {"num_highlights": 2}),
    "detectable_format:title": ("<<a>>", "<< >>", {}),
    "keywords:existence": ("Rainy.", "Sunny.", {"keywords": ["rain"]}),
    "keywords:forbidden_words": ("Windows.", "Wind.", {"forbidden_words": ["wind"]}),
    "keywords:frequency": ("Rain, rain.", "Rain.", {"keyword": "rain", "frequency": 2, "relation": "at least"}),
    "keywords:letter_frequency": ("aA", "aAa", {"letter": "a", "let_frequency": 3, "let_relation": "less than"}),
    "length_constraints:nth_paragraph_first_word": (
        'a\n\n"But b',
        "a\n\nb",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "but"},
    ),
    "length_constraints:number_paragraphs": ("a\n***\nb", "a\n***\n\n***\nb", {"num_paragraphs": 2}),
    "length_constraints:number_sentences": ("One. Two!", "One.", {"num_sentences": 2, "relation": "at least"}),
    "length_constraints:number_words": ("one two", "one two three", {"num_words": 3, "relation": "less than"}),
    "punctuation:no_comma": ("a b", "a, b", {}),
    "startend:end_checker": ('That is "all"', "That is it", {"end_phrase": "All"}),
    "startend:quotation": ('"a"', 'a"', {}),
}


@pytest.mark.parametrize("name", checks())
def test_each_instruction(name):
    """What follows it is told from what does not."""
    followed, not_followed, options = FOLLOWED[name]
    assert (checks()[name](followed, options), checks()[name](not_followed, options)) == (True, False)


def test_an_instruction_that_is_not_known_is_refused():
    """It is not passed over: a score would say that it was followed, or not."""
    from pytest_evalrun.errors import PairError
    from pytest_evalrun.suite.objects import load_object

    follows = load_object("./ifeval.py:follows", str(EXAMPLES))
    with pytest.raises(PairError, match="instruction 'language:response_language' is not known; accepted: change_case"):
        follows("Ja.", ["language:response_language"], [{"language": "de"}])


ENDPOINTS = {
    "vllm": {"serve": "vllm serve {model} --port {port} --tensor-parallel-size {gpus}", "ready": "/health"},
    "llamacpp": {"concurrency": 4, "ready": "/health"},
    "openai": {"base_url": "https://api.openai.com/v1", "api_key": "${OPENAI_API_KEY}", "model": "gpt-4o-mini"},
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_endpoints(name, tmp_path):
    """A suite that imports one and brings data has its pair; nothing is started or asked for that."""
    for weights in ("Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct-q4_k_m.gguf"):
        (tmp_path / "models" / weights).mkdir(parents=True)
    (tmp_path / "rows.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    suite = {"import": str(EXAMPLES / f"{name}.yaml"), "datasets": [{"path": "rows.jsonl", "format": "jsonl"}]}
    (tmp_path / "evalrun.yaml").write_text(json.dumps(suite))
    (pair,) = discover(tmp_path / "evalrun.yaml", (), (), {"OPENAI_API_KEY": "a-key-of-a-test"}).pairs
    own = pair.settings.own
    assert {word: getattr(own, word) for word in ENDPOINTS[name]} == ENDPOINTS[name]
