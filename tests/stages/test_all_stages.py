"""What holds for every stage."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE, STAGES, load_stage
from age_tasks.reports.run_summary import summary_table
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stopwatch import PARTS
from tests.support.settings import QUICK
from tests.support.stages import run_stages


def test_every_stage_leaves_a_record(finished: Workspace):
    for stage in STAGES:
        record = finished.require_record(stage)
        assert re.fullmatch("[0-9a-f]{64}", record.fingerprint)
        assert record.seconds >= 0
        assert record.peak_memory_gb > 0
        assert tuple(record.parts) == PARTS
        # From the start of the stage on, the parts are its seconds, but for what is rounded.
        assert sum(record.parts.values()) >= record.seconds - 0.05
        assert "keras" in record.versions


@pytest.mark.slow
def test_only_the_training_stages_import_tensorflow():
    modules = [f"age_tasks.stages.{stage}" for stage in STAGES if stage not in {"baseline", "finetune"}]
    program = f"import sys, {', '.join(modules)}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"


def test_a_rerun_on_unchanged_labels_reuses_every_stage(copied: Locations, capsys: pytest.CaptureFixture[str]):
    run_stages("again", "demo", QUICK)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each.get("reused_from") for each in said] == [None, *["finished"] * 7]
    with open_run("again", copied) as run:
        assert run.input("finetune", "model.keras").stat().st_size > 1_000_000
        assert "reused from finished" in summary_table(run)


@pytest.mark.parametrize("stage", STAGES[:-1])  # publish reads them in records
def test_a_stage_reads_no_settings_but_those_that_are_named_as_its_own(stage: str, copied: Locations):
    """What shapes its result and is no part of its fingerprint would be dropped, or reused for other settings."""
    fields = {name: field.alias or name for name, field in Config.model_fields.items() if name != "recipe"}
    read: set[str] = set()

    class Recording(Config):
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                read.add(fields[name])
            return super().__getattribute__(name)

    with open_run("finished", copied) as run:
        config = Recording.model_validate(run.config().to_dict())
        read.clear()
        load_stage(stage).execute(replace(run, fingerprint="recording"), config)
    assert read <= set(PIPELINE[stage].reads)


def test_pages_need_no_network(finished: Workspace):
    pages = [
        (stage, name)
        for stage in ("validate", "evaluate", "publish")
        for name in finished.require_record(stage).outputs
        if name.endswith(".html")
    ]
    assert ("validate", "index.html") in pages
    assert ("validate", "data_docs/index.html") in pages
    assert len(pages) >= 7
    for stage, name in pages:
        html = finished.input(stage, name).read_text()
        assert not re.search(r"""<(?:link|script|img|iframe)\b[^>]*(?:src|href)=["']?(?:https?:)?//""", html), name
