import json

import pytest

from brainrecon.datasets.coco import read_captions, read_categories


@pytest.fixture
def photographs(digits_file):
    folder = digits_file.parents[1] / "coco80"
    if not folder.is_dir():
        pytest.skip(f"the photographs are not at {folder}")
    return folder


def test_captions_and_categories_of_real_annotations(photographs):
    captions = json.loads((photographs / "captions.json").read_text())
    ids = [image["id"] for image in captions["images"]]
    read = read_captions([photographs / "captions.json"], ids)
    assert len(read) == 80 and sum(len(of_one) for of_one in read) == len(captions["annotations"])
    by_hand = [entry["caption"] for entry in captions["annotations"] if entry["image_id"] == ids[7]]
    assert read[7] == [" ".join(caption.split()) for caption in by_hand]
    categories = read_categories([photographs / "instances.json"], ids)
    assert sum(bool(names) for names in categories) > 70 and all(names == sorted(set(names)) for names in categories)


def test_a_picture_without_annotations_has_none(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": [{"image_id": 5, "caption": " a  cat\n"}]}))
    assert read_captions([path], [4, 5, 5]) == [[], ["a cat"], ["a cat"]]
