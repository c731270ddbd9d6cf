"""A ranking of unlabelled images that nobody has computed."""

from age_tasks.registry.label_ranking import LabelRanking, RankedImage

RANKED = RankedImage(file_name="new/1.jpg", sha256="ab", age=31.4, low=20, high=43, distance=2)
RANKING = LabelRanking(
    version="v3",
    run="monday",
    unlabelled="/new",
    images=900,
    unreadable=2,
    at="2026-11-26T10:00:00.000+00:00",
    ranked=[RANKED],
)
