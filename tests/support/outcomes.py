"""A stage that is a shell command."""

from types import SimpleNamespace
from typing import Any

import pytest
from age_retraining_plugin.runtimes.process import CommandOperator


class Context(dict[str, Any]):
    """The context of a task whose XComs are kept."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}
        super().__init__(ti=SimpleNamespace(xcom_push=lambda key, value: self.pushed.update({key: value})))


def shell(monkeypatch: pytest.MonkeyPatch, script: str, **options: Any) -> CommandOperator:
    """A command that is a shell script instead."""
    monkeypatch.setattr(CommandOperator, "command_line", script)
    return CommandOperator(task_id="snapshot", command="snapshot", **options)
