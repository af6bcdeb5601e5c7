# Copyright (c) sskd_mm authors. All rights reserved.
"""A small detection data set that needs no download.

Real handwritten digits, the 1797 grey 8x8 scans that ship with scikit-learn,
are drawn on cluttered colour canvases and annotated in COCO format.
"""
import json
import os
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple, Union

import cv2
import numpy as np
from pycocotools import mask as mask_utils

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven',
           'eight', 'nine')

# Increase with any change to a pixel or an annotation: data sets made by
# another version are then refused.
VERSION = 1

MAX_DIGITS = 6  # per image
MIN_SIZE = 14  # pixels, the height of an upright scan
MAX_SIZE = 0.44  # fraction of the image's side
MAX_IOU = 0.3  # between two boxes
MIN_VISIBLE = 0.75  # fraction of a digit's ink that is not covered
MIN_CONTRAST = 80  # grey levels between the ink and its background
INK = 0.5  # minimum opacity of a pixel that belongs to a digit

_BGR_TO_GREY = np.array([0.114, 0.587, 0.299])


def _load_scans() -> Tuple[np.ndarray, np.ndarray, Dict[str, np.ndarray]]:
    """Load the scans, in 0..1, their labels, and the indices of each split.

    The first four fifths are for training and the rest for validation,
    whatever the seed: even sets with different seeds share no scan across
    splits.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise ImportError('The digits are part of scikit-learn: '
                          'pip install scikit-learn') from e
    digits = load_digits()
    scans = (digits.images / 16).astype(np.float32)
    train, val = np.split(np.arange(len(scans)), [len(scans) * 4 // 5])
    return scans, digits.target, dict(train=train, val=val)


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a colour gradient with smooth noise and clutter.

    Strokes run from edge to edge and ellipses are filled, because a short
    line would be an unannotated 'one' and a ring a 'zero'.
    """
    canvas = cv2.resize(
        rng.uniform(30, 225, (2, 2, 3)), (size, size),
        interpolation=cv2.INTER_LINEAR)
    cells = rng.integers(4, 17)
    canvas += cv2.resize(
        rng.normal(0, rng.uniform(3, 15), (cells, cells, 3)), (size, size),
        interpolation=cv2.INTER_CUBIC)
    canvas = canvas.clip(0, 255).astype(np.uint8)

    for _ in range(rng.integers(2, 9)):
        colour = rng.integers(0, 256, 3).tolist()
        kind = rng.choice(['stroke', 'ellipse', 'patch'])
        if kind == 'stroke':
            # A parabola through three points, two of them on the edges.
            start, middle, end = rng.uniform(0, size, (3, 2))
            axis = rng.integers(2)
            start[axis], end[axis] = 0, size
            t = np.linspace(0, 1, 24)[:, None]
            points = start * (1 - t) + end * t + middle * t * (1 - t)
            cv2.polylines(canvas, [points.round().astype(np.int32)], False,
                          colour, int(rng.integers(1, 5)), cv2.LINE_AA)
        elif kind == 'ellipse':
            centre = rng.integers(0, size, 2).tolist()
            axes = rng.integers(size // 32, size // 5, 2).tolist()
            cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360,
                        colour, -1, cv2.LINE_AA)
        else:
            x, y = rng.integers(0, size - size // 10, 2)
            w, h = rng.integers(size // 10, size // 3, 2)
            patch = canvas[y:y + h, x:x + w]
            patch[:] = (patch + rng.normal(0, 30, patch.shape)).clip(0, 255)
    return canvas.astype(np.float32)


def _draw_digit(scan: np.ndarray, size: int,
                rng: np.random.Generator) -> np.ndarray:
    """Render a digit's opacity, randomly scaled, sheared, rotated, placed."""
    height = np.exp(rng.uniform(np.log(MIN_SIZE), np.log(MAX_SIZE * size)))
    angle = np.deg2rad(rng.uniform(-12, 12))
    turn = np.array([[np.cos(angle), -np.sin(angle)],
                     [np.sin(angle), np.cos(angle)]])
    shape = np.array([[rng.uniform(0.8, 1.15),
                       rng.uniform(-0.15, 0.15)], [0, 1]])
    linear = height / len(scan) * turn @ shape
    middle = (len(scan) - 1) / 2
    offset = (size - 1) / 2 - linear @ [middle, middle]
    opacity = cv2.warpAffine(
        scan,
        np.column_stack([linear, offset]), (size, size),
        flags=cv2.INTER_CUBIC)
    # A steeper ramp gives the blurry upscaled digit a pen's sharp edge.
    opacity = ((opacity - 0.3) / 0.4).clip(0, 1)

    # Drawn in the centre, then moved: the same pixels at any position.
    shift = []
    for axis in (0, 1):
        drawn = np.flatnonzero(opacity.any(1 - axis))
        shift.append(rng.integers(-drawn[0], size - drawn[-1]))
    return np.roll(opacity, shift, (0, 1))


def _paint(canvas: np.ndarray, opacity: np.ndarray,
           rng: np.random.Generator) -> np.ndarray:
    """Draw a digit in a colour that stands out from its background."""
    below = canvas[opacity >= INK].mean(0) @ _BGR_TO_GREY
    while True:
        colour = rng.integers(0, 256, 3)
        if abs(colour @ _BGR_TO_GREY - below) >= MIN_CONTRAST:
            break
    return canvas + opacity[..., None] * (colour - canvas)


def _encode(owner: np.ndarray, num_digits: int) -> List[dict]:
    """Run-length encode the visible ink of each digit."""
    masks = owner[..., None] == np.arange(1, num_digits + 1)
    return mask_utils.encode(np.asfortranarray(masks, dtype=np.uint8))


def _photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur the canvas slightly, add sensor noise, and round."""
    canvas = cv2.GaussianBlur(canvas, (3, 3), rng.uniform(0.1, 0.6))
    canvas = canvas + rng.normal(0, rng.uniform(0, 6), canvas.shape)
    return canvas.round().clip(0, 255).astype(np.uint8)


def _make_image(scans: np.ndarray, pool: np.ndarray, size: int,
                rng: np.random.Generator) -> Tuple[np.ndarray, List, List]:
    """Make an image; also return the source and visible ink of its digits."""
    canvas = _background(size, rng)
    owner = np.zeros((size, size), np.int64)
    sources, inks, rles = [], [], []
    wanted = rng.integers(1, MAX_DIGITS + 1)
    # A crowded canvas may end up with fewer digits, but at least one.
    for _ in range(10 * wanted):
        source = int(rng.choice(pool))
        opacity = _draw_digit(scans[source], size, rng)
        ink = opacity >= INK
        covered = np.where(ink, len(sources) + 1, owner)
        new_inks = inks + [ink.sum()]
        new_rles = _encode(covered, len(new_inks))
        boxes = mask_utils.toBbox(new_rles)
        ious = mask_utils.iou(boxes, boxes, [0] * len(boxes))
        visible = mask_utils.area(new_rles) / new_inks
        if (np.triu(ious, 1) > MAX_IOU).any() or (visible < MIN_VISIBLE).any():
            continue
        canvas = _paint(canvas, opacity, rng)
        sources.append(source)
        owner, inks, rles = covered, new_inks, new_rles
        if len(sources) == wanted:
            break
    return _photograph(canvas, rng), sources, rles


def _write_split(root: Path, split: str, num_images: int, size: int,
                 seed: int) -> None:
    scans, labels, pools = _load_scans()
    (root / split).mkdir()
    images, annotations = [], []
    for image_id in range(num_images):
        # One generator per image, so that a larger set begins with the images
        # of a smaller one.
        rng = np.random.default_rng([seed, split == 'val', image_id])
        image, sources, rles = _make_image(scans, pools[split], size, rng)
        name = f'{image_id:06d}.png'
        (root / split / name).write_bytes(cv2.imencode('.png', image)[1])
        images.append(
            dict(
                id=image_id,
                file_name=name,
                width=size,
                height=size,
                license=1))
        for source, rle in zip(sources, rles):
            x, y, w, h = mask_utils.toBbox(rle).astype(int).tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=int(labels[source]) + 1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=dict(
                        size=rle['size'], counts=rle['counts'].decode()),
                    source=source))
    content = dict(
        info=dict(
            description='Handwritten digits for object detection, made by '
            'sskd_mm from the digits of scikit-learn',
            version=str(VERSION)),
        licenses=[
            dict(
                id=1,
                name='Scans: Alpaydin and Kaynak, Optical Recognition of '
                'Handwritten Digits (UCI), CC BY 4.0',
                url='https://creativecommons.org/licenses/by/4.0/')
        ],
        images=images,
        annotations=annotations,
        categories=[
            dict(id=i, name=name, supercategory='digit')
            for i, name in enumerate(CLASSES, 1)
        ])
    path = root / 'annotations' / f'instances_{split}.json'
    path.write_text(json.dumps(content))


def _is_complete(root: Path, num_images: Dict[str, int]) -> bool:
    return all((root / 'annotations' / f'instances_{split}.json').is_file()
               and len(list((root / split).glob('*.png'))) == num
               for split, num in num_images.items())


def make_digits_detection(out_dir: Union[str, Path],
                          num_train: int = 1000,
                          num_val: int = 200,
                          image_size: int = 128,
                          seed: int = 0) -> Path:
    """Write a COCO-format detection data set of handwritten digits.

    The layout is ``annotations/instances_{train,val}.json``, ``train/*.png``,
    ``val/*.png`` and a ``meta.json`` with the parameters. Each image has one
    to six digits of :data:`CLASSES`. Equal parameters give equal bytes (with
    the same releases of NumPy, OpenCV and scikit-learn).

    Annotations:

    - A pixel belongs to a digit if the digit's opacity is at least one half
      and no later digit covers it. ``segmentation`` is the run-length
      encoding of these pixels and ``bbox`` their tight bounds.
    - Two boxes have an IoU of at most 0.3, and at least three quarters of
      each digit's ink are visible.
    - ``area`` is that of the box, so that COCO's small and medium objects
      differ by the size of the digit, not by the width of its strokes.
    - ``source`` is the index of the scan in
      :func:`sklearn.datasets.load_digits`. No scan is in both splits, whatever
      the seed.

    A complete set with the same parameters is kept; one with missing files is
    made anew. The set is written next to ``out_dir`` and moved there when
    complete, so a killed run leaves no partial set.

    Args:
        out_dir (str or Path): The folder of the data set, which should hold
            nothing else.
        num_train (int): Number of training images. Defaults to 1000.
        num_val (int): Number of validation images. Defaults to 200.
        image_size (int): Side of the square images in pixels, at least 64.
            Defaults to 128.
        seed (int): Random seed. Defaults to 0.

    Returns:
        Path: ``out_dir``.
    """
    if num_train < 1 or num_val < 1:
        raise ValueError('num_train and num_val must be at least 1, but got '
                         f'{num_train} and {num_val}')
    if image_size < 64:
        raise ValueError(
            f'image_size must be at least 64 for the digits to be legible, '
            f'but got {image_size}')
    if seed < 0:
        raise ValueError(f'seed must not be negative, but got {seed}')

    out_dir = Path(out_dir)
    num_images = dict(train=num_train, val=num_val)
    meta = dict(
        generator='digits_detection',
        version=VERSION,
        num_train=num_train,
        num_val=num_val,
        image_size=image_size,
        seed=seed)
    meta_file = out_dir / 'meta.json'
    if meta_file.is_file():
        found = json.loads(meta_file.read_text())
        if found != meta:
            raise ValueError(
                f'{out_dir} holds a set made with {found}, not with the '
                f'requested {meta}: delete it or choose another folder')
        if _is_complete(out_dir, num_images):
            return out_dir
    elif out_dir.is_dir() and any(out_dir.iterdir()):
        raise ValueError(f'{out_dir} is not empty and has no meta.json of a '
                         'digits set: choose another folder')

    target = out_dir.resolve()  # if a link, keep it and fill its target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
                dir=target.parent, prefix=f'.{target.name}-') as tmp:
            new = Path(tmp, 'new')
            (new / 'annotations').mkdir(parents=True)
            for split, num in num_images.items():
                _write_split(new, split, num, image_size, seed)
            (new / 'meta.json').write_text(json.dumps(meta))
            if target.is_dir():
                os.replace(target, Path(tmp, 'old'))
            os.replace(new, target)
    except OSError as e:
        raise ValueError(f'Cannot write the set to {out_dir}: {e}') from e
    return out_dir
