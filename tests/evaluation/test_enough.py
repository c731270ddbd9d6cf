"""What is enough to judge by: images, and people where they are known."""

import pytest

from age_tasks.evaluation.enough import enough_in_words, too_few, too_few_in_words


@pytest.mark.parametrize(
    ("images", "people", "lack"),
    [
        (29, None, "few images"),
        (30, None, ""),
        (29, 29, "few images"),
        (3000, 1, "few people"),
        (30, 9, "few people"),
        (30, 10, ""),
    ],
)
def test_images_are_enough_with_enough_people_where_these_are_known(images: int, people: int | None, lack: str):
    assert too_few(images, people) == lack


def test_what_is_enough_names_people_only_where_they_are_known():
    assert (enough_in_words(False), too_few_in_words(False)) == ("30 images", "fewer than 30 images")
    assert enough_in_words(True, "test images") == "30 test images of 10 people"
    assert too_few_in_words(True) == "fewer than 30 images or 10 people"
