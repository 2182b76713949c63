import json
import tracemalloc

import pytest

from brainrecon.datasets.coco import read_captions, read_categories
from stages.ground.errors import InputError


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


def test_outlines_are_not_kept(tmp_path):
    """Reading takes little more than the text itself: the lists of outlines would be several times that."""
    outline = [round(0.37 * k, 2) for k in range(60)]
    annotations = [
        {"image_id": k, "category_id": 1 + k % 2, "segmentation": [outline], "bbox": outline[:4]} for k in range(5000)
    ]
    path = tmp_path / "instances.json"
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    path.write_text(json.dumps({"annotations": annotations, "categories": categories}))
    del annotations
    tracemalloc.start()
    assert read_categories([path], [4, 3, 9999]) == [["dog"], ["cat"], []]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size


@pytest.mark.parametrize(
    "content",
    [
        {"annotations": [{}], "categories": []},
        {"annotations": 3, "categories": []},
        {"annotations": [{"image_id": 5, "caption": 7, "category_id": 1}], "categories": []},
    ],
)
def test_another_format_is_told(tmp_path, content):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(content))
    for read in (read_captions, read_categories):
        with pytest.raises(InputError, match="annotations of another format than COCO's"):
            read([path], [5])
