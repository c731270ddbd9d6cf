"""Seeded mutation: bytes that are nearly what they should be."""

import random
from collections.abc import Sequence


def mutated(data: bytes, lot: random.Random, tokens: Sequence[bytes]) -> bytes:
    """A few changes by lot: a token put in, a part cut out, repeated or lost at the end, a byte changed."""
    found = bytearray(data)
    for _ in range(lot.randint(1, 4)):
        at = lot.randrange(len(found) + 1)
        match lot.randrange(6):
            case 0 | 1:
                found[at : at + lot.randint(0, 4)] = lot.choice(tokens)
            case 2:
                del found[at : at + lot.randint(1, 10)]
            case 3:
                found[at:at] = bytes([lot.randrange(256)])
            case 4:
                start = lot.randrange(len(found) + 1)
                found[at:at] = found[start : start + lot.randint(1, 40)]
            case 5 if lot.random() < 0.3:
                del found[at:]
    return bytes(found)
