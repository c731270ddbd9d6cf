"""Every refusal in the code has a test here that provokes it and takes the way out that its message names."""

import importlib
from pathlib import Path

from tests.support.refusals import matching, refusals, walked


def test_every_refusal_is_walked():
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{module.stem}")
    covered = {refusal for each in walked() for refusal in matching(*each)}
    missing = [str(refusal) for refusal in refusals() if refusal not in covered]
    assert not missing, (
        f"{len(missing)} refusals are not walked. Add a test in tests/refusals/ with @walks(module, part of the text) "
        "that provokes each, checks its message and takes the way out:\n" + "\n".join(missing)
    )
    assert len(covered) > 250
