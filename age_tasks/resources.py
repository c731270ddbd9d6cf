"""Files that come with the package, and where the files that it writes belong, in a checkout and installed."""

from pathlib import Path

from platformdirs import user_data_path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "expectations").is_dir()  # in a checkout, they are beside the package


def package_path(name: str) -> Path:
    """A file or folder that comes with the package: its packaged copy, else the checkout's.

    Args:
        name: its path relative to the package, such as `expectations` or `data/splits.py`.

    Raises:
        FileNotFoundError: there is no such path.
    """
    for folder in (PACKAGE,) if INSTALLED else (PACKAGE, PACKAGE.parent):
        if (path := folder / name).exists():
            return path
    raise FileNotFoundError(PACKAGE / name)


def state_folder(name: str) -> Path:
    """The folder for what the project writes where the user has chosen none; not created.

    Args:
        name: the folder's name in a checkout, such as `.age`; an installed package uses the user's data folder instead,
            so that nothing is written into site-packages.
    """
    return user_data_path("age-tasks") / name.removeprefix(".") if INSTALLED else PACKAGE.parent / name
