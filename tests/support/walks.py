"""How a refusal is walked: it is provoked, its message is checked, its way out is taken, and then it works."""

from collections.abc import Callable

import pytest

from age_tasks.cli.app import main
from age_tasks.errors import AgeTasksError
from tests.support.refusals import Refusal


class Walk:
    """Provokes the refusal of a test; the test then takes the way out and calls what was returned.

    Args:
        refusals: the places in the code that the test is about; the message must be theirs.
    """

    def __init__(self, refusals: list[Refusal], capsys: pytest.CaptureFixture[str]) -> None:
        self._refusals, self._capsys = refusals, capsys
        self.message, self.worked = "", False

    def __call__(self, action: Callable[[], object], *names: object, lines: int = 1) -> Callable[..., object]:
        """Check that the action is refused; returns the same action, which must work once the way out is taken.

        Args:
            names: what the message names: the thing, its value, the reason, the way out.
            lines: the most lines of the message; more than one only where it lists several problems.
        """
        self._capsys.readouterr()
        try:
            code = action()
        except AgeTasksError as error:
            self.message = str(error)
        else:
            assert isinstance(code, int), f"nothing was refused: {code!r}"
            assert code, "nothing was refused"
            self.message = self._capsys.readouterr().err.strip()
        assert 1 <= len(self.message.splitlines()) <= lines, self.message
        assert "Traceback" not in self.message
        for name in names:
            assert str(name) in self.message, f"{name!r} is not in: {self.message}"
        for refusal in self._refusals:
            assert refusal.pattern.search(self.message), f"this is not from {refusal}: {self.message}"

        def again(other: Callable[[], object] = action) -> object:
            result = other()
            assert not isinstance(result, int) or result == 0, self._capsys.readouterr().err
            self.worked = True
            return result

        return again


def command(*words: object) -> Callable[[], int]:
    """A command of `age-tasks` to be executed; gives its exit code."""
    return lambda: main([str(word) for word in words])
