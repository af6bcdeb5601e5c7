# Copyright (c) sskd_mm authors. All rights reserved.
"""Small annotations as mmdet's users have them, without any image."""
import json

OBJECT = ('<object><name>{}</name><difficult>0</difficult><bndbox><xmin>2'
          '</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>'
          '</object>')


def write_coco(path, names, labels, category_id=lambda i: i):
    """A file in COCO's format.

    Args:
        path (Path): Where to.
        names (Sequence[str]): Of its categories, whose ids are 1, 2, ...
        labels (Sequence[int]): An image each, with a box of this category.
        category_id (Callable): What an annotation has for an id.
    """
    content = dict(
        info=dict(description='"categories": [] in words'),
        images=[
            dict(id=i, file_name=f'{i}.jpg', width=64, height=64)
            for i in range(len(labels))
        ],
        annotations=[
            dict(
                id=i,
                image_id=i,
                bbox=[2, 2, 20, 20],
                area=400,
                iscrowd=0,
                category_id=category_id(label + 1))
            for i, label in enumerate(labels)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)])
    path.write_text(json.dumps(content))
    return str(path)


def write_voc(folder, names):
    """A folder as VOC's, with an image for each name, which shows it."""
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (folder / 'Annotations' / f'{i}.xml').write_text(
            '<annotation><size><width>64</width><height>64</height></size>' +
            OBJECT.format(name) + '</annotation>')
    images = '\n'.join(map(str, range(len(names))))
    for split in ('trainval', 'val'):
        (folder / 'ImageSets/Main' / f'{split}.txt').write_text(images)
    return str(folder)


def coco_cfg(ann_file, classes=None, **options):
    metainfo = dict() if classes is None else dict(
        metainfo=dict(classes=classes))
    return dict(
        type='CocoDataset',
        ann_file=ann_file,
        data_prefix=dict(img=''),
        filter_cfg=dict(filter_empty_gt=True),
        **metainfo,
        **options)


def voc_cfg(folder, classes, split='trainval', **options):
    return dict(
        type='VOCDataset',
        data_root=folder,
        ann_file=f'ImageSets/Main/{split}.txt',
        data_prefix=dict(sub_data_root='.'),
        metainfo=dict(classes=classes),
        filter_cfg=dict(filter_empty_gt=True),
        **options)
