"""Generated inputs: how many are tried, and what must hold for each: a right result, or a refusal of one line.

    test_some_texts, test_many_texts = generated(5000, text=texts())(check)

tries 30 in every test run, always the same, and 5,000 new ones with the tests marked `faults`. Hypothesis prints what
failed, and how to try it again; mutations are drawn from a seed, which is printed (`SEED=… pytest …` repeats it). What
failed once is kept as an example beside the test.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from age_tasks.errors import AgeTasksError

FEW = 30
SECRET = "canary+hush/0451"  # planted where a key, a password or a token may stand; no message may show it
SECONDS = 20  # of the processor, that one input may take
_CURE = re.compile(
    r"; |expected|write|use |used|set |[Cc]hoose|rename|correct|give|must|should|Sections: |' has: |invalid|there are|"
    r"is the |at most|no model|removed|no .* in |keep one|a recipe is|save it as|pip install|maximum size|Input should"
)


def generated(many: int, few: int = FEW, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Two tests of a check: with a few inputs in every run, and with many that is marked `faults`."""

    def tests(check: Callable[..., None]) -> tuple[Callable[..., None], Callable[..., None]]:
        marked = pytest.mark.faults(pytest.mark.timeout(1800)(_given(check, strategies, many, repeatable=False)))
        return _given(check, strategies, few, repeatable=True), marked

    return tests


def _given(
    check: Callable[..., None], strategies: dict[str, SearchStrategy[Any]], count: int, repeatable: bool
) -> Callable[..., None]:
    chosen = settings(
        max_examples=count,
        derandomize=repeatable,
        deadline=None,
        print_blob=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),  # inputs are small as they are
        suppress_health_check=list(HealthCheck),
    )
    wrapped: Callable[..., None] = chosen(given(**strategies)(check))
    return wrapped


def attempts(many: int, request: pytest.FixtureRequest, few: int = FEW) -> Iterator[int]:
    """The numbers of the inputs: many if the test is marked `faults`."""
    yield from range(many if request.node.get_closest_marker("faults") else few)


def outcome(act: Callable[[], Any], *names: str) -> tuple[Any, AgeTasksError | None]:
    """The result, or the refusal after a check of its message; any other error is a failure of the test.

    Args:
        names: of which one must be in the message.
    """
    began, wall = time.thread_time(), time.monotonic()
    try:
        result, refusal = act(), None
    except AgeTasksError as error:
        result, refusal = None, error
        check_message(error, *names)
    assert time.thread_time() - began < SECONDS
    assert time.monotonic() - wall < 12 * SECONDS
    return result, refusal


def check_message(error: AgeTasksError, *names: str) -> None:
    """A refusal names the thing and a cure, is one line for each problem, and shows no secret."""
    said = str(error)
    assert said
    lines = said.split("\n")
    assert len(lines) == len(error.args), said
    for line in lines:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]", line), ascii(line)
        assert len(line) < 4100
        assert not names or any(name in line for name in names), (names, line)
        assert _CURE.search(line), line
    assert SECRET not in said
    assert error.exit_code in {1, 64, 65, 66, 69, 73, 74, 75, 76, 77}


# Texts that people and programs write, and those that break things.
ODD = [
    "",
    " ",
    "\t",
    "0",
    "-0",
    "1",
    "-1",
    "007",
    "1_0",
    "1e3",
    "1e999",
    "1:30",
    "0x10",
    "0b1",
    "0o7",
    "1,5",
    "1.5",
    ".5",
    "5.",
    "٣",
    "３",
    "½",
    "nan",
    "NaN",
    ".nan",
    "inf",
    "-Infinity",
    ".inf",
    "true",
    "True",
    "TRUE",
    "yes",
    "no",
    "on",
    "off",
    "t",
    "y",
    "null",
    "~",
    "None",
    "none",
    "all",
    "local",
    "docker",
    "kubernetes",
    "16g",
    "1g",
    "9" * 5000,
    "[]",
    "{}",
    "[" * 300,
    '{"a": 1}',
    "a=b",
    "a=b,c=d",
    "ann@example.org",
    "age:1",
    "image:latest",
    "0 3 * * 1",
    "* * * * *",
    "@daily",
    "../x",
    "/",
    "/etc/passwd",
    "~",
    "~nobody-here/x",
    "a b",
    "#x",
    "a #b",
    "a: b",
    "- a",
    "&a b",
    "*a",
    "!!int x",
    "!!binary !",
    "%YAML",
    "'",
    '"',
    "`x`",
    "$(id)",
    "${x}",
    "{0}",
    "{x.y}",
    "%s",
    "{{ x }}",
    "<b>",
    "\x00",
    "a\nb",
    "a\rb",
    "\x1b[31m",
    "\x7f",
    "\x9b1m",
    "\u2028",
    "\u202e",
    "\u200b",
    "\ufeff",
    "\xa0",
    "\u3000",
    "é",
    "e\u0301",
    "😀",
    "\udcff",
    "s3://",
    "s3://bucket",
    "s3://bucket/a//b",
    "s3://bucket/../x",
    "S3://bucket/x",
    "s3:/bucket",
    f"s3://AKIA:{SECRET}@bucket/x",
    f"https://me:{SECRET}@host/x",
    f"http://me:{SECRET}@host:9000",
    "file:///x#y?z",
    "file:///%00",
    "file:///%ff",
    "file://host/x",
    "file://[",
    "http://[::1",
    "gs://x",
    "localhost:9000",
    "http://127.0.0.1:99999",
    "sqlite:///x.db",
]


def texts(*more: str, nul: bool = True) -> SearchStrategy[str]:
    """Odd texts, these among them, and random ones; also two together.

    Args:
        more: texts that are right, or nearly so.
        nul: whether a NUL may occur, as it can't in an environment variable.
    """
    odd = st.sampled_from([*ODD, *more, *more, *more])
    short = st.text(max_size=12)
    near = st.text("0123456789.,:;+-eE_ xnaif=/#'\"[]{}\\@*&!|>%~", max_size=8)
    found = st.one_of(
        odd, odd, near, short, st.tuples(odd, st.sampled_from(["", " ", ".", ",", "\n"]), odd).map("".join)
    )
    return found if nul else found.map(lambda text: text.replace("\0", ""))
