# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from tool_process import ToolProcess

import sskd_mm  # noqa: F401  makes mmdet importable without compiled ops
from sskd_mm.datasets import digits_detection
from sskd_mm.datasets.digits_detection import CLASSES, make_digits_detection

pytest.importorskip('sklearn')

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ('train', 'val')


def digest(root):
    """One hash over the names and bytes of all files below a folder."""
    result = hashlib.sha256()
    for path in sorted(path for path in root.rglob('*') if path.is_file()):
        result.update(path.relative_to(root).as_posix().encode())
        result.update(path.read_bytes())
    return result.hexdigest()


def load(root, split):
    path = root / 'annotations' / f'instances_{split}.json'
    return json.loads(path.read_text())


def bounds(mask):
    rows = np.flatnonzero(mask.any(1))
    cols = np.flatnonzero(mask.any(0))
    return cols[0], rows[0], cols[-1] + 1, rows[-1] + 1


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """A set that tests only read."""
    out_dir = tmp_path_factory.mktemp('data') / 'digits'
    return make_digits_detection(out_dir, num_train=120, num_val=40)


def test_layout(digits):
    for split, num in zip(SPLITS, (120, 40)):
        content = load(digits, split)
        names = [f'{i:06d}.png' for i in range(num)]
        assert [image['file_name'] for image in content['images']] == names
        files = sorted(path.name for path in (digits / split).iterdir())
        assert files == names
        for name in names:
            assert cv2.imread(str(digits / split / name)).shape == (128, 128,
                                                                    3)
        categories = {c['id']: c['name'] for c in content['categories']}
        assert categories == dict(enumerate(CLASSES, 1))


def test_equal_bytes(tmp_path):
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = make_digits_detection(tmp_path / 'a', 8, 4)
    assert (np.random.get_state()[1] == state).all()
    second = make_digits_detection(tmp_path / 'b', 8, 4)
    assert digest(first) == digest(second)

    # In another process, through the command line.
    output = ToolProcess(ROOT / 'tools/dataset_converters/make_digits.py',
                         tmp_path / 'c', '--num-train', 8, '--num-val',
                         4).finish()
    assert digest(tmp_path / 'c') == digest(first)
    num_boxes = len(load(first, 'train')['annotations'])
    assert f'train: 8 images, {num_boxes} boxes' in output


def test_seed_and_length(tmp_path):
    short = make_digits_detection(tmp_path / 'short', 4, 2)
    longer = make_digits_detection(tmp_path / 'longer', 6, 2)
    other = make_digits_detection(tmp_path / 'other', 4, 2, seed=1)
    for i in range(4):
        name = f'train/{i:06d}.png'
        image = (short / name).read_bytes()
        assert (longer / name).read_bytes() == image
        assert (other / name).read_bytes() != image


def test_no_scan_in_both_splits(digits, tmp_path):
    from sklearn.datasets import load_digits
    labels = load_digits().target
    other = make_digits_detection(tmp_path / 'other', 60, 60, seed=1)
    sources = dict(train=set(), val=set())
    for root in (digits, other):
        for split in SPLITS:
            for ann in load(root, split)['annotations']:
                assert ann['category_id'] == labels[ann['source']] + 1
                sources[split].add(ann['source'])
    assert len(sources['train']) > 100 and len(sources['val']) > 100
    assert not sources['train'] & sources['val']


def test_boxes_bound_the_pixels_of_the_images(tmp_path, monkeypatch):
    """On a plain ground the digits can be measured in the images.

    There, a pixel is ink where it differs from the ground by at least half of
    what the digit's colour does. Rounding costs up to one grey level.
    """
    monkeypatch.setattr(
        digits_detection, '_background', lambda size, rng: np.full(
            (size, size, 3), 128, np.float32))
    monkeypatch.setattr(digits_detection, '_photograph',
                        lambda canvas, rng: canvas.round().astype(np.uint8))
    root = make_digits_detection(tmp_path / 'digits', 40, 1)
    coco = COCO(root / 'annotations' / 'instances_train.json')
    measured = 0
    for image_id in coco.getImgIds():
        image = cv2.imread(str(root / 'train' / f'{image_id:06d}.png'))
        difference = abs(image.astype(int) - 128)
        anns = coco.loadAnns(coco.getAnnIds(image_id))
        # The digit and, around it, its soft edge.
        areas = []
        for ann in anns:
            x, y, w, h = ann['bbox']
            areas.append(np.zeros((128, 128), bool))
            areas[-1][max(y - 8, 0):y + h + 8, max(x - 8, 0):x + w + 8] = True
        for ann, area in zip(anns, areas):
            if (np.sum(areas, 0)[area] > 1).any():
                continue  # a neighbour is near
            x, y, w, h = ann['bbox']
            pixels = difference * area[..., None]
            pixels = pixels[..., pixels.max((0, 1)).argmax()]
            half = pixels.max() / 2
            box = np.array([x, y, x + w, y + h])
            inner = bounds(pixels > half + 1)
            outer = bounds(pixels > half - 1)
            for box_edge, inner_edge, outer_edge in zip(box, inner, outer):
                edges = sorted([inner_edge, outer_edge])
                assert edges[0] <= box_edge <= edges[1]
            measured += (np.array(inner) == outer).all()
    assert measured > 20  # boxes that the rounding leaves no doubt about


def test_annotations(digits):
    for split in SPLITS:
        coco = COCO(digits / 'annotations' / f'instances_{split}.json')
        for image_id in coco.getImgIds():
            anns = coco.loadAnns(coco.getAnnIds(image_id))
            assert 1 <= len(anns) <= 6
            masks = [coco.annToMask(ann) for ann in anns]
            assert np.sum(masks, 0).max() == 1  # a pixel has one owner
            corners = []
            for ann, mask in zip(anns, masks):
                x, y, w, h = ann['bbox']
                corners.append((x, y, x + w, y + h))
                assert bounds(mask) == corners[-1]
                assert mask.shape == (128, 128)
                assert 3 <= w <= 80 and 6 <= h <= 80
                assert ann['area'] == w * h and ann['iscrowd'] == 0
            for i, a in enumerate(corners):
                for b in corners[:i]:
                    w = min(a[2], b[2]) - max(a[0], b[0])
                    h = min(a[3], b[3]) - max(a[1], b[1])
                    both = max(w, 0) * max(h, 0)
                    a_area = (a[2] - a[0]) * (a[3] - a[1])
                    b_area = (b[2] - b[0]) * (b[3] - b[1])
                    assert both <= 0.3 * (a_area + b_area - both)


def test_classes_are_balanced(digits):
    anns = load(digits, 'train')['annotations']
    counts = np.bincount([ann['category_id'] for ann in anns])[1:]
    assert len(counts) == 10
    # The scans are drawn by chance, which shows in a set this small.
    assert counts.min() > 0.4 * counts.mean()
    assert counts.max() < 1.6 * counts.mean()


def test_mmdet_reads_it(digits):
    datasets = pytest.importorskip('mmdet.datasets')
    dataset = datasets.CocoDataset(
        ann_file='annotations/instances_train.json',
        data_root=str(digits),
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)
        ])
    assert len(dataset) == 120
    anns = load(digits, 'train')['annotations']
    for i in range(10):
        data = dataset[i]
        mine = [ann for ann in anns if ann['image_id'] == i]
        assert data['img'].shape == (128, 128, 3)
        labels = [ann['category_id'] - 1 for ann in mine]
        assert data['gt_bboxes_labels'].tolist() == labels
        boxes = data['gt_bboxes'].tensor.numpy()
        expected = np.array([ann['bbox'] for ann in mine])
        expected[:, 2:] += expected[:, :2]
        assert (boxes == expected).all()
        masks = data['gt_masks'].masks
        assert [bounds(mask) for mask in masks] == list(map(tuple, expected))


def test_complete_set_is_kept(tmp_path):

    def times():
        return {path: path.stat().st_mtime_ns for path in root.rglob('*')}

    root = make_digits_detection(tmp_path / 'digits', 3, 2)
    before = times()
    assert make_digits_detection(str(root), 3, 2) == root
    assert times() == before


def test_killed_run_leaves_no_set(tmp_path, monkeypatch):
    reference = make_digits_detection(tmp_path / 'reference', 3, 2)
    out_dir = tmp_path / 'digits'
    load_scans = digits_detection._load_scans
    calls = []

    def load_or_die():
        calls.append(1)
        if len(calls) == 2:  # when the validation split begins
            os.kill(os.getpid(), signal.SIGKILL)
        return load_scans()

    with monkeypatch.context() as patch:
        patch.setattr(digits_detection, '_load_scans', load_or_die)
        killed = multiprocessing.get_context('fork').Process(
            target=make_digits_detection, args=(out_dir, 3, 2))
        killed.start()
        killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not out_dir.exists()
    make_digits_detection(out_dir, 3, 2)
    assert digest(out_dir) == digest(reference)


@pytest.mark.parametrize(
    'lost',
    ['train/000001.png', 'val/000001.png', 'annotations/instances_val.json'])
def test_set_that_lost_a_file_is_made_anew(tmp_path, lost):
    root = make_digits_detection(tmp_path / 'digits', 3, 2)
    before = digest(root)
    (root / lost).unlink()
    make_digits_detection(root, 3, 2)
    assert digest(root) == before
    assert list(tmp_path.iterdir()) == [root]  # nothing temporary is left


def test_other_parameters_are_refused(tmp_path):
    root = make_digits_detection(tmp_path / 'digits', 3, 2)
    before = digest(root)
    with pytest.raises(ValueError, match="'seed': 0.*'seed': 7.*delete it"):
        make_digits_detection(root, 3, 2, seed=7)
    assert digest(root) == before


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'mine.png').write_text('precious')
    with pytest.raises(ValueError, match='not empty'):
        make_digits_detection(tmp_path, 3, 2)
    assert (tmp_path / 'train' / 'mine.png').read_text() == 'precious'


def test_linked_folder_is_filled(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'digits').symlink_to(tmp_path / 'disk')
    make_digits_detection(tmp_path / 'digits', 1, 1)
    assert (tmp_path / 'digits').is_symlink()
    assert (tmp_path / 'disk' / 'meta.json').is_file()


@pytest.mark.parametrize('wrong, message', [
    (dict(image_size=63), 'image_size must be at least 64'),
    (dict(num_train=0), 'num_train and num_val must be at least 1'),
    (dict(num_val=-1), 'num_train and num_val must be at least 1'),
    (dict(seed=-1), 'seed must not be negative'),
])
def test_wrong_arguments(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        make_digits_detection(tmp_path / 'digits', **wrong)
    assert not (tmp_path / 'digits').exists()


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    for out_dir in (tmp_path / 'file', tmp_path / 'file' / 'digits'):
        with pytest.raises(ValueError, match='Cannot write the set to'):
            make_digits_detection(out_dir, 1, 1)


def test_without_sklearn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(ImportError, match='pip install scikit-learn'):
        make_digits_detection(tmp_path / 'digits', 1, 1)
    assert not (tmp_path / 'digits').exists()


@pytest.mark.parametrize('image_size', [64, 200])
def test_other_image_sizes(tmp_path, image_size):
    root = make_digits_detection(
        tmp_path / 'digits', 5, 1, image_size=image_size)
    image = cv2.imread(str(root / 'train' / '000000.png'))
    assert image.shape == (image_size, image_size, 3)
    for ann in load(root, 'train')['annotations']:
        x, y, w, h = ann['bbox']
        assert x >= 0 and y >= 0
        assert x + w <= image_size and y + h <= image_size
