"""How an age that is no number, or no possible age, is probably meant. A person corrects it; nothing is guessed."""

import re
import unicodedata

from age_tasks.data.expectations import age_bounds

_AROUND = " \t'\"`´’‘“”()[]~≈≃?*+<>=:;._"
_NUMBER = re.compile(r"(\d+)(?:[.,](\d+))?\s*(.*)", re.ASCII | re.DOTALL)
_YEARS = re.compile(r"|y|yo|y/o|yrs?|years?( old)?|j|jahre?|ans?|años?|anni", re.IGNORECASE)
_MONTHS = re.compile(r"m|mo|mos|mths?|months?( old)?|monate?|mois", re.IGNORECASE)


def age_hint(text: str) -> str:
    """What to write instead, to follow a reason, such as `; write 12.5`; empty where no reading is likely.

    Args:
        text: the age as written.
    """
    if not text.strip():
        return "; it is empty"
    found = _NUMBER.fullmatch(unicodedata.normalize("NFKC", text).strip(_AROUND))
    if not found:
        return ""
    whole, decimals, unit = found.groups()
    number = float(f"{whole}.{decimals or 0}")
    if not unit and not decimals and 1900 <= number < 2100:
        return "; if it is a year of birth, write the age in years"
    if _MONTHS.fullmatch(unit.strip(_AROUND)):
        number /= 12
    elif not _YEARS.fullmatch(unit.strip(_AROUND)):
        return ""
    written, (low, high) = f"{round(number, 2):g}", age_bounds()
    return f"; write {written}" if written != text and low <= number <= high else ""
