"""The page of a decision: the verdict first, every name as it is, and no longer than a comment may be."""

from __future__ import annotations

from markdown_it import MarkdownIt

from pytest_evalrun.comparison.compare import FlippedSamples
from pytest_evalrun.comparison.conclusion import Conclusion
from pytest_evalrun.comparison.decision import JudgedMetric, broken, decide
from pytest_evalrun.report.gatedecision import MOST, MOST_ROWS, alarm_lines, decision_markdown, decision_table

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = "a|b` <script>*x*</script> @someone\n# [y](z)"
TOLD = {
    "kind": "max_drop",
    "value": 0.9,
    "limit": 0.92,
    "by": 0.02,
    "margin": 0.02,
    "before": 0.94,
    "baseline": "main",
    "method": "Tango's score interval",
    "interval": [-0.06, -0.03],
    "n": 400,
    "confidence": 0.95,
    "p": 0.0001,
    "lost": 20,
    "won": 4,
    "discordance": 0.06,
}


def failed(pair="s/t/d", metric="m", better="higher", why="why", word="FAIL", **told):
    flips = FlippedSamples(20, 4, ("s1", "s2"), ("s3",))
    return JudgedMetric(pair, metric, "supporting", Conclusion(word, why), told=TOLD | told, better=better, flips=flips)


def missing(pair="s/t/gone", metric=""):
    return JudgedMetric(pair, metric, "critical", problem="skipped: not today", missing=True)


def test_the_page_tells_all_that_decides():
    """In this order: the verdict, what is missing, gates, why, flips, alarms, the policy, remarks."""
    gates = [failed(), missing(), failed("s/t/open", word="INCONCLUSIVE", why="n=400: 1,237 would do")]
    text = decision_markdown(decide("main", "new", gates, "policy.yaml", ["1 pair only in new"]))
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# NO-GO: 1 of 3 gates past what is allowed, 1 gate of 1 pair missing, 1 gate undecided; 0 PASS",
        *("## Missing", "## Gates", "## Why", "## Flipped samples", "## Alarms", "## Policy", "## Remarks"),
    ]
    assert "From main to new, by policy.yaml." in text
    assert "- s/t/gone (all of its gates): skipped: not today" in text
    assert r"| FAIL | s/t/d | m | 0.9400 | 0.9000 | -0.04 \[-0.06, -0.03\] | max_drop 0.02 |" in text
    assert "- s/t/open m: INCONCLUSIVE: n=400: 1,237 would do" in text
    assert "s/t/d m: FAIL" not in text, "its interval says it"
    assert "- s/t/d m: lost 20: s1, s2 and 18 others; won 4: s3 and 3 others" in text
    assert "- m: max_drop 0.02 at 95 %, of 2 pairs" in text


def test_of_a_metric_of_which_less_is_better_a_drop_is_a_rise():
    """In the metric's own unit, as everywhere."""
    gate = failed(better="lower", value=3.0, before=2.5, interval=[-0.6, -0.4])
    assert r"| +0.5 \[+0.4, +0.6\] |" in decision_markdown(decide("b", "c", [gate]))


def test_names_of_others_are_text():
    """Pairs, metrics, ids and reasons make no markup, no mention and no line of their own."""
    gates = [failed(HOSTILE, HOSTILE, why=HOSTILE), missing(HOSTILE, HOSTILE)]
    text = decision_markdown(decide(HOSTILE, HOSTILE, gates, HOSTILE, [HOSTILE]))
    tokens = MARKDOWN.parse(text)
    assert not [token for token in tokens if token.type == "html_block"]
    inline = [child for token in tokens for child in token.children or ()]
    markup = {child.type for child in inline} - {"text", "html_inline"}
    assert markup == set()
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<!-- -->"}
    assert len([token for token in tokens if token.type == "tr_open"]) == 2


def test_the_page_is_no_longer_than_a_comment():
    """What there is no room for is counted, and the verdict stays whole."""
    gates = [failed(f"s/{'t' * 100}{number}/d", why="because " * 30) for number in range(3_000)]
    gates += [missing(f"s/{'u' * 100}{number}/d") for number in range(1_000)]
    text = decision_markdown(decide("main", "new", gates, "policy.yaml", ["r" * 400] * 200))
    assert len(text) <= MOST
    assert text.startswith("# NO-GO: 3000 of 4000 gates past what is allowed, 1000 gates of 1000 pairs missing")
    assert " more, in the output of `--json` |" in text


def test_a_decision_without_gates_is_a_page():
    """It says why there is none, and its other lines are remarks."""
    assert decision_markdown(broken("b", "c", "x.yaml:1: one\nx.yaml:2: two")) == (
        "# BROKE: x.yaml:1: one\n\nFrom b to c.\n\n## Remarks\n\n- x.yaml:2: two\n"
    )


def test_a_terminal_shows_the_worst():
    """And how many there are beside them; one that passes needs no reason."""
    passed = JudgedMetric("s/t/p", "m", "advisory", Conclusion("PASS", "fine"), told=TOLD)
    rows, left = decision_table(decide("b", "c", [passed] * 10 + [failed()] * MOST_ROWS))
    assert (len(rows), left) == (MOST_ROWS, 10)
    assert rows[0] == ("FAIL", "s/t/d", "m", "-0.04 [-0.06, -0.03]", "max_drop 0.02", "")
    rows, left = decision_table(decide("b", "c", [passed, missing()]))
    assert rows[0] == ("MISSING", "s/t/gone", "(all of its gates)", "", "critical", "skipped: not today")
    assert (rows[1][4:], left) == (("max_drop 0.02, advisory", ""), 0)


def test_alarms_are_of_each_suite():
    """Only of what was compared sample by sample."""
    lines = alarm_lines([failed("one/t/d"), failed("two/t/d"), missing(), failed("two/t/e", p=0.9)])
    assert [line.partition(": ")[0] for line in lines] == ["alarms (one)"] * 2 + ["alarms (two)"] * 2
    assert "1 of 2 gates got worse beyond chance: t/d m -0.04 against main" in lines[2]
