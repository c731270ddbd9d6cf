"""Tasks for Label Studio."""

from xml.etree import ElementTree

from age_tasks.data.corrections import read_corrections
from age_tasks.reports.label_studio import INTERFACE, task
from tests.support.label_studio import answered, exported


def test_a_task_holds_its_image_and_the_age_as_a_pre_annotation():
    made = task("data:image/jpeg;base64,AAAA", 31.46, "v3", {"file_name": "a.jpg"})
    assert made["data"] == {"image": "data:image/jpeg;base64,AAAA", "file_name": "a.jpg"}
    (prediction,) = made["predictions"]
    assert prediction["model_version"] == "v3"
    (answer,) = prediction["result"]
    assert answer == {"from_name": "age", "to_name": "image", "type": "number", "value": {"number": 31.5}}


def test_the_labelling_interface_has_the_names_that_the_tasks_use():
    image, number = ElementTree.fromstring(INTERFACE)
    assert image.attrib == {"name": "image", "value": "$image"}
    assert (number.attrib["name"], number.attrib["toName"]) == ("age", "image")


def test_what_a_person_answers_is_read_back():
    made = task("data:,", 31.46, "v3", {"file_name": "a.jpg", "real_age": 5.0, "sha256": "ab", "run": "monday"})
    (said,) = read_corrections(exported([answered(made, 7)]), "export.json").given
    assert (said.file_name, said.age, said.before, said.sha256, said.run) == ("a.jpg", 7, 5, "ab", "monday")
