"""Whether a part of the images is large enough to judge by its interval."""

FEW_IMAGES = 30  # the MAE of fewer is too uncertain to judge by
FEW_PEOPLE = 10  # intervals resample people, where they are known: of fewer they are much too narrow, of one they are 0


def too_few(images: int, people: int | None) -> str:
    """`few images` or `few people` where there are too few of them to judge by; else empty.

    Args:
        people: how many people the images show; None where that is not known.
    """
    if images < FEW_IMAGES:
        return "few images"
    return "few people" if people is not None and people < FEW_PEOPLE else ""


def enough_in_words(people_known: bool, images: str = "images") -> str:
    """What is enough, such as `30 images of 10 people`.

    Args:
        images: what they are called, such as `test images`.
    """
    return f"{FEW_IMAGES} {images}" + (f" of {FEW_PEOPLE} people" if people_known else "")


def too_few_in_words(people_known: bool) -> str:
    """What is not enough, such as `fewer than 30 images or 10 people`."""
    return f"fewer than {FEW_IMAGES} images" + (f" or {FEW_PEOPLE} people" if people_known else "")
