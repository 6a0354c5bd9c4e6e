"""How a run shows itself: in one line where there is only text, with its matrices in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.matrix import matrices
from pytest_evalrun.report.verdict import verdict_of
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.report.matrix import Matrix
    from pytest_evalrun.report.rows import Summary

# Beyond these nobody reads an output; the DataFrames have them all.
MOST_MATRICES = 12
MOST_ROWS = 40
MOST_COLUMNS = 20
MOST_PROBLEMS = 5
# No script, no style, nothing to load: what a notebook shows even of a file that it does not trust.
PAGE = """\
<div class="evalrun-run">
<p><strong>{{ name }}</strong>{{ " (running)" if live }}: {{ verdict }}</p>
{%- if problems %}
<ul>
{%- for problem in problems %}<li>{{ problem }}</li>{% endfor -%}
</ul>
{%- endif %}
{%- for table in tables %}
<table>
<caption>{{ table.title }}</caption>
<thead><tr>{% for cell in table.header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in table.rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
{%- if table.legend %}
<p><small>{{ table.legend }}</small></p>
{%- endif %}
{%- endfor %}
{%- if left %}
<p>{{ left }}</p>
{%- endif %}
</div>
"""


def as_text(name: str, summary: Summary, *, live: bool) -> str:
    """The name and the verdict of a run, safe to show."""
    return one_line(f"<Run {name}{' (running)' if live else ''}: {verdict_of(summary).line}>")


def as_html(name: str, summary: Summary, *, live: bool) -> str:
    """The verdict of a run, the worst of what is wrong, and its matrices; whatever it is called, nothing is run."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    found = list(matrices(summary))
    left = len(found) - MOST_MATRICES
    return template.render(
        name=one_line(name),
        live=live,
        verdict=one_line(verdict_of(summary).line),
        problems=list(map(one_line, _problems(summary))),
        tables=list(map(_table, found[:MOST_MATRICES])),
        left=f"… and {counted(left, 'matrix', 'matrices')} more: run.results has them" if left > 0 else "",
    )


def _problems(summary: Summary) -> Iterator[str]:
    verdict = verdict_of(summary)
    problems = [f"{breach.pair}: {breach.text}" for breach in verdict.breaches]
    problems += [f"{trouble.pair}: {trouble.reason}" for trouble in verdict.troubles]
    yield from problems[:MOST_PROBLEMS]
    if len(problems) > MOST_PROBLEMS:
        yield f"… and {len(problems) - MOST_PROBLEMS} more"


def _table(matrix: Matrix) -> dict[str, Any]:
    header, *rows = matrix.rows
    shown = [_cells(row) for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        shown.append((f"… and {len(rows) - MOST_ROWS} more",))
    title = one_line(f"{matrix.suite}: {matrix.metric}")
    return {"title": title, "header": _cells(header), "rows": shown, "legend": one_line(matrix.legend())}


def _cells(row: Sequence[str]) -> tuple[str, ...]:
    more = (f"… {len(row) - MOST_COLUMNS} more",) if len(row) > MOST_COLUMNS else ()
    return (*map(one_line, row[:MOST_COLUMNS]), *more)
