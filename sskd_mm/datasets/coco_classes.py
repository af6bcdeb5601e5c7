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
    """The classes in a file of COCO's format.

    Attributes:
        names (list[str]): Of its categories, in the file's order.
        ids (list): Of the same.
        used (list): The ids that its first thousand annotations have, each
            once.
        lacking (list[str]): What an annotation of these lacks, of the fields
            that mmdet's ``CocoDataset`` reads of each.
    """
    names: List[str]
    ids: List[Any]
    used: List[Any]
    lacking: List[str]


def read_coco_classes(path: str) -> Optional[CocoClasses]:
    """Read the classes of a file in COCO's format, and nothing else of it.

    To parse the whole of a large one, as mmdet does, takes some twenty times
    as long.

    Args:
        path (str): A local JSON file.

    Returns:
        CocoClasses or None: None of a file without ``categories``.
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
        # mmdet passes over it before it reads more.
        if not annotation.get('ignore') for field in fields
        if field not in annotation
    }
    return list(lacking)


def _annotations(text: str) -> Iterator[dict]:
    """One after the other, as long as they can be read."""
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
