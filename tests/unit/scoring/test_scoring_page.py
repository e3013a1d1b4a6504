"""What `docs/howto/scoring.md` shows and tells, held against the library."""

from __future__ import annotations

import re
from pathlib import Path

from mmsearch.scoring import WhyMissing

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "scoring.md").read_text(encoding="utf-8")
DOC_IDS = [f"v{i}" for i in range(30)]


def test_the_lines_of_a_server_run_as_they_stand(publish_wide, monkeypatch, tmp_path):
    publish_wide()
    (tmp_path / "wide").rename(tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(block.replace("deadline_s=0.02", "deadline_s=20"), names)
    with names["live"] as live:
        features = names["answer"]("red panda", [*DOC_IDS, "nobody"])
        assert features.generation == live.generation
        assert features.missing[-1].all()
        assert not features.late


def test_every_reason_is_on_the_page():
    assert [reason for reason in WhyMissing if f"`{reason}`" not in PAGE] == []
