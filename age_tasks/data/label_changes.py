"""What changed in the labels since an earlier run: names, ages, and what is quarantined."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from age_tasks.config import SLICE
from age_tasks.data.label_columns import further_columns_of


@dataclass(frozen=True)
class LabelChanges:
    """The differences by file name; of a name that is listed several times, the first row counts.

    Args:
        previous_run: the key of the earlier run.
        added, removed: file names that are only in the new, or only in the earlier labels.
        corrected: names with another age: columns line, file_name, before, after (as written).
        replaced: names whose image is another file now: columns line, file_name, age_text.
        columns: those that the labels have gained or lost, such as `+who`, `-camera`.
        values: of further columns that both labels have, how many images have another value, such as `person`: 3.
        quarantined: rows that are quarantined now, and were not: columns line, file_name, age_text, reason.
        resolved: rows that were quarantined and are accepted now: columns line, file_name, age_text.
    """

    previous_run: str
    added: int
    removed: int
    corrected: pd.DataFrame
    replaced: pd.DataFrame
    columns: tuple[str, ...]
    values: dict[str, int]
    quarantined: pd.DataFrame
    resolved: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many images were added, removed, relabelled and replaced."""
        return {
            "added": self.added,
            "removed": self.removed,
            "relabelled": len(self.corrected),
            "replaced": len(self.replaced),
        }


def label_changes(
    now: pd.DataFrame,
    quarantine: pd.DataFrame,
    before: pd.DataFrame,
    quarantine_before: pd.DataFrame,
    previous_run: str,
    headers: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> LabelChanges:
    """Compare the labels of a run with those of an earlier one.

    Args:
        now, before: every row: columns line, file_name, age_text, real_age, sha256 (empty if the image was not read),
            and further ones.
        quarantine: the rows that are quarantined now: columns line, file_name, age_text, reason.
        quarantine_before: the rows that were: column line.
        headers: the columns of the labels file, before and now.
    """
    now, before = (
        now.assign(file_name=now["file_name"].fillna("")),
        before.assign(file_name=before["file_name"].fillna("")),
    )
    was_quarantined = before[before["line"].isin(quarantine_before["line"])]
    first, former = now.drop_duplicates("file_name"), before.drop_duplicates("file_name")
    both = first.merge(former, on="file_name", suffixes=("", "_before"))
    same = both["age_text"].eq(both["age_text_before"]) | both["real_age"].eq(both["real_age_before"])
    corrected = both.loc[~same, ["line", "file_name", "age_text_before", "age_text"]]
    read = (both["sha256"] != "") & (both["sha256_before"] != "")
    former_columns, columns = headers
    now_accepted = now[~now["line"].isin(quarantine["line"])]
    return LabelChanges(
        previous_run=previous_run,
        added=int((~first["file_name"].isin(former["file_name"])).sum()),
        removed=int((~former["file_name"].isin(first["file_name"])).sum()),
        corrected=corrected.rename(columns={"age_text_before": "before", "age_text": "after"}),
        replaced=both.loc[read & (both["sha256"] != both["sha256_before"]), ["line", "file_name", "age_text"]],
        columns=(
            *(f"+{name}" for name in columns if name not in former_columns),
            *(f"-{name}" for name in former_columns if name not in columns),
        ),
        values=_changed_values(both),
        quarantined=quarantine[~quarantine["file_name"].fillna("").isin(was_quarantined["file_name"])],
        resolved=now_accepted.loc[
            now_accepted["file_name"].isin(was_quarantined["file_name"]), ["line", "file_name", "age_text"]
        ],
    )


def _changed_values(both: pd.DataFrame) -> dict[str, int]:
    """The further columns with the number of rows whose value differs from that in the column `<name>_before`."""
    columns = [name for name in further_columns_of(both.columns) if f"{name}_before" in both]
    counts = {name.removeprefix(SLICE): int((both[name] != both[f"{name}_before"]).sum()) for name in columns}
    return {name: count for name, count in counts.items() if count}


def named_copies(accepted: pd.DataFrame) -> pd.DataFrame:
    """The accepted rows whose content an earlier row has under another name.

    Args:
        accepted: columns line, file_name, real_age, sha256.

    Returns:
        Columns line, file_name, real_age (years), first_line, first_file_name.
    """
    first = accepted.drop_duplicates("sha256").set_index("sha256")
    copies = accepted[accepted.duplicated("sha256")]
    return copies[["line", "file_name", "real_age"]].assign(
        first_line=copies["sha256"].map(first["line"]), first_file_name=copies["sha256"].map(first["file_name"])
    )
