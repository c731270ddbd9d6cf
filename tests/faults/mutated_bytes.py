"""Random changes to valid bytes, for inputs that are almost valid."""

import random
from collections.abc import Sequence


def mutated(data: bytes, rng: random.Random, tokens: Sequence[bytes]) -> bytes:
    """One to four random changes: a token or byte inserted, a part removed, repeated or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(6):
            case 0 | 1:
                found[at : at + rng.randint(0, 4)] = rng.choice(tokens)
            case 2:
                del found[at : at + rng.randint(1, 10)]
            case 3:
                found[at:at] = bytes([rng.randrange(256)])
            case 4:
                start = rng.randrange(len(found) + 1)
                found[at:at] = found[start : start + rng.randint(1, 40)]
            case 5 if rng.random() < 0.3:
                del found[at:]
    return bytes(found)
