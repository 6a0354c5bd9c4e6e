"""Examples of a prompt out of a Parquet file."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import parquet

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.llm.prompts import Prompt
from pytest_evalrun.suite.settings import Settings


def test_examples_of_parquet(tmp_path):
    """The columns of their answers need not be among the inputs, of which alone others are read."""
    columns = {"question": ["q0"], "steps": ["so and so"], "answer": [4]}
    parquet.write_table(pa.table(columns), tmp_path / "dev.parquet")
    spec = {"template": "{{ question }}", "fewshot": {"from": "dev.parquet", "answer": "{{ steps }} #### {{ answer }}"}}
    settings = Settings(reference="answer", inputs=("question",))
    sent = Prompt(spec, root=str(tmp_path), settings=settings).messages(Sample(0, "0", "new"))
    assert [message["content"] for message in sent] == ["q0", "so and so #### 4", "new"]
