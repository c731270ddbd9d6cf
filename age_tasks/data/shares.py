"""The images of one of several workers: which are his is a matter of the image alone, not of order or luck."""

from dataclasses import dataclass

from age_tasks.environment import StageVariables
from age_tasks.errors import SettingsError


@dataclass(frozen=True)
class Share:
    """One of several shares of all images; together they hold each image exactly once.

    Args:
        number: of the share, from 1.
        of: number of shares.
    """

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def counted(self, what: str) -> str:
        """What is counted of the share, for the log and the pages: `images read, share 2/4`."""
        return what if self.of == 1 else f"{what}, share {self}"

    def holds(self, sha256: str) -> bool:
        """Whether an image belongs to the share.

        Args:
            sha256: of its content or of its name, 64 hex digits.
        """
        return int(sha256[:12], 16) % self.of == self.number - 1


WHOLE = Share()


def share_of_this_process() -> Share:
    """The share that `AGE_SHARE` names; without it, all images.

    Raises:
        SettingsError: it is no share, such as 5/4.
    """
    text = StageVariables.from_env().share
    if not text:
        return WHOLE
    number, of = map(int, text.split("/"))
    if number > of:
        raise SettingsError(f"AGE_SHARE={text!r} is invalid: expected at most {of}/{of}, the last of {of} shares")
    return Share(number, of)
