"""How a command is registered: its place in the help, the disks it fills, its errors as one line and an exit code."""

import functools
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from gettext import gettext
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from age_tasks.environment import Locations
from age_tasks.errors import AgeTasksError
from age_tasks.store.addresses import local_path
from age_tasks.store.disk import full_disk_named

STAGES, LABELS, MODELS = "Stages", "Labels", "Models"
MAINTENANCE, AIRFLOW, SETTINGS = "Maintenance", "Airflow", "Settings"
CACHE, OUT = "AGE_CACHE", "--out"
NOBODY_READS = 128 + signal.SIGPIPE  # as of a program that the signal ends


class GroupedHelp(TyperGroup):
    """Help as plain text of any width, with the commands in groups; quick, since nothing is imported for it.

    The types of contexts and formatters are private to typer.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of their registration."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            if not command.hidden:
                text = command.get_short_help_str(limit=1000)  # the whole first sentence, wrapped
                title = getattr(command, "rich_help_panel", None) or gettext("Commands")
                groups.setdefault(title, []).append((name.ljust(width), text))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def group(help_text: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(
        cls=GroupedHelp,
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(
    app: typer.Typer, name: str, panel: str, *, title: str = "", fills: Iterable[str] = (), **options: Any
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function that returns an exit code as a command.

    Args:
        app: the group it belongs to.
        name: the command as it is typed.
        panel: the title it stands under in the help.
        title: what error messages begin with; default: the name.
        fills: what chooses the disks that the command writes to besides the temporary folder: `AGE_CACHE`, `--out`.
        options: passed on to typer.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def guarded(*args: Any, **values: Any) -> None:
            try:
                with full_disk_named(_disks(fills, values)):
                    code = function(*args, **values)
                    sys.stdout.flush()
            except AgeTasksError as error:
                print(f"{title or name}: {error}", file=sys.stderr)
                code = error.exit_code
            except BrokenPipeError:
                if not _nobody_reads():
                    raise
                code = NOBODY_READS
            raise typer.Exit(code)

        app.command(name, rich_help_panel=panel, **options)(guarded)
        return function

    return register


def _nobody_reads() -> bool:
    """Whether the program that read our output has ended, as `head` does; what is still to be printed is discarded."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return True


def _disks(fills: Iterable[str], values: Mapping[str, object]) -> dict[str, Path]:
    """The folders a command writes to, by what chooses them; an address on S3 is no disk of this machine."""
    found = {"TMPDIR": Path(tempfile.gettempdir())}
    for chosen_by in fills:
        if chosen_by == CACHE:
            found[chosen_by] = Locations.from_env().cache
        elif (out := values[chosen_by.removeprefix("--")]) and not str(out).startswith("s3://"):
            found[chosen_by] = local_path(str(out)).absolute()
    return found
