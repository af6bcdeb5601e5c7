# Copyright (c) sskd_mm authors. All rights reserved.
import json
import re
from itertools import islice
from typing import Any, Iterator, List, NamedTuple, Optional

from mmengine.fileio import get_text

_CATEGORIES = re.compile(r'"categories"\s*:\s*')
_ANNOTATIONS = re.compile(r'"annotations"\s*:\s*\[\s*')
_COMMA = re.compile(r'\s*,\s*')
_CATEGORY_ID = re.compile(r'"category_id"\s*:\s*("(?:[^"\\]|\\.)*"|[-.\w]+)')


class CocoClasses(NamedTuple):
    """The classes of a COCO-format file.

    Attributes:
        names (list[str]): Names of the categories, in the file's order.
        ids (list): Ids of the categories, in the same order.
        used (list): The distinct category ids in its first thousand
            annotations.
        lacking (list[str]): The fields read by mmdet's ``CocoDataset`` that
            one of these annotations lacks.
    """
    names: List[str]
    ids: List[Any]
    used: List[Any]
    lacking: List[str]


def read_coco_classes(path: str) -> Optional[CocoClasses]:
    """Read only the classes of a COCO-format file.

    Parsing all of a large file, as mmdet does, takes about twenty times as
    long.

    Args:
        path (str): A local JSON file.

    Returns:
        CocoClasses or None: None if the file has no ``categories``.
    """
    text = get_text(path)
    for match in _CATEGORIES.finditer(text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
        if isinstance(found, list) and all(
                isinstance(x, dict) and {'id', 'name'} <= x.keys()
                for x in found):
            first = islice(_CATEGORY_ID.finditer(text), 1000)
            used = [json.loads(x[0]) for x in {x.groups(): 0 for x in first}]
            return CocoClasses([x['name'] for x in found],
                               [x['id'] for x in found], used,
                               _lacking(text))
    return None


def _lacking(text: str) -> List[str]:
    fields = ('bbox', 'area', 'category_id')
    lacking = {
        field: None
        for annotation in islice(_annotations(text), 1000)
        # mmdet skips ignored annotations before it reads more.
        if not annotation.get('ignore') for field in fields
        if field not in annotation
    }
    return list(lacking)


def _annotations(text: str) -> Iterator[dict]:
    """Yield annotations as long as they can be parsed."""
    decoder, match = json.JSONDecoder(), _ANNOTATIONS.search(text)
    while match:
        try:
            found, end = decoder.raw_decode(text, match.end())
        except ValueError:
            return
        if not isinstance(found, dict):
            return
        yield found
        match = _COMMA.match(text, end)
