# Copyright (c) sskd_mm authors. All rights reserved.
"""Data sets of faces, and what wraps them, through MMEngine's dataloader and
evaluator: an image's index is its own within one data set alone."""
import pickle
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.evaluation import Verification, collect_pairs

pytestmark = pytest.mark.usefixtures('quick_garbage_collection')


class Embed(torch.nn.Module):
    """Predicts what each image's pixels say."""

    def test_step(self, batch):
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            sample.set_field(image.float().mean((1, 2)), 'embedding')
        return batch['data_samples']


def encoded(embedding):
    """An image whose mean of each channel, BGR, is this."""
    image = np.ones((4, 4, 3)) * embedding
    return cv2.imencode('.png', image.astype(np.uint8))[1].tobytes()


def bin_file(path, accuracy, count=20, seed=1):
    """Pairs of which a share of one is verified, half of them genuine."""
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    right = np.arange(count) < round(accuracy * count)
    images = []
    for alike in same == right:
        a = rng.integers(100, 200, 3)
        # Far from a in direction, wherever that is.
        b = a if alike else np.eye(3)[a.argmin()] * 200
        images += [encoded(a), encoded(b)]
    path.write_bytes(pickle.dumps((images, same.tolist())))
    return dict(
        type='FaceBin',
        ann_file=str(path),
        pipeline=[dict(type='PackInputs')],
        test_mode=True)


def score(dataset, metric='FaceVerification', workers=0, **loader):
    """By MMEngine's own loop of a dataloader and an evaluator."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader({
            **dict(
                batch_size=3,
                num_workers=workers,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='default_collate')),
            **loader, 'dataset': dataset
        })
    evaluator = Evaluator(dict(type=metric))
    evaluator.dataset_meta = loader.dataset.metainfo
    model = Embed()
    for batch in loader:
        evaluator.process(model.test_step(batch))
    return evaluator.evaluate(len(loader.dataset))


def concat(*datasets, **options):
    return dict(type='ConcatDataset', datasets=[*datasets], **options)


def test_two_sets_of_pairs(tmp_path):
    """Both have images 0 to 39; each counts by itself."""
    good, bad = (bin_file(tmp_path / f'{name}.bin', accuracy, seed=seed)
                 for name, accuracy, seed in (('lfw', 1, 0), ('cfp', .45, 1)))
    alone = [score(dataset) for dataset in (good, bad)]
    assert [x['face/accuracy'] for x in alone] == [100, 45]
    for options in ({}, dict(ignore_keys='pairs')):
        for workers in (0, 2):
            figures = score(concat(good, bad, **options), workers=workers)
            for name, own in zip(('lfw', 'cfp'), alone):
                for key, value in own.items():
                    key = key.replace('face/', f'face/{name}/')
                    assert figures.pop(key) == value
            assert figures.pop('face/accuracy') == 72.5
            # The deviation over folds has no mean over sets.
            assert {*figures} == {*alone[0]} - {
                'face/accuracy', 'face/accuracy_std'
            }


@pytest.mark.parametrize('wrap', [
    lambda x: x,
    lambda x: dict(type='RepeatDataset', dataset=x, times=3),
    lambda x: concat(x),
    lambda x: concat(x, x),
    lambda x: dict(type='RepeatDataset', dataset=concat(x), times=2),
    lambda x: dict(x, pipeline=[dict(type='PackInputs', meta_keys=[
        'sample_idx'])]),
], ids=['plain', 'repeated', 'concat', 'twice', 'both', 'few keys'])
def test_one_set_in_wrappers(tmp_path, wrap):
    dataset = bin_file(tmp_path / 'x.bin', .45)
    assert score(wrap(dataset))['face/accuracy'] == 45
    assert score(
        wrap(dataset),
        sampler=dict(type='DefaultSampler',
                     shuffle=True))['face/accuracy'] == 45


def test_files_of_one_name(tmp_path):
    files = []
    for folder, accuracy in (('a', 1), ('b', .45)):
        (tmp_path / folder).mkdir()
        files.append(bin_file(tmp_path / folder / 'x.bin', accuracy))
    figures = score(concat(*files))
    assert [figures[f'face/{x["ann_file"]}/accuracy']
            for x in files] == [100, 45]


@pytest.mark.parametrize('indices', [
    24, -24, range(24), [*range(30, 40), *range(20)], range(39, 9, -1)
])
def test_some_of_the_images(tmp_path, indices):
    """As of a file that has no others."""
    whole = bin_file(tmp_path / 'x.bin', .45)
    images, same = pickle.loads((tmp_path / 'x.bin').read_bytes())
    chosen = range(40)
    if isinstance(indices, int):
        chosen = chosen[:indices] if indices > 0 else chosen[indices:]
    else:
        chosen = sorted(indices)
    (tmp_path / 'y.bin').write_bytes(
        pickle.dumps(([images[i] for i in chosen],
                      [same[i // 2] for i in chosen[::2]])))
    expected = score(dict(whole, ann_file=str(tmp_path / 'y.bin')))
    assert score(dict(whole, indices=indices)) == expected
    other = bin_file(tmp_path / 'z.bin', 1)
    figures = score(concat(dict(whole, indices=indices), other))
    assert figures['face/x/accuracy'] == expected['face/accuracy']
    if indices == 24:
        # The same by the dataloader.
        assert score(whole, num_batch_per_epoch=8) == expected


def test_pairs_that_are_cut_in_two(tmp_path, monkeypatch):
    warnings = []
    # Not by its path, where the function is.
    monkeypatch.setattr(sys.modules[collect_pairs.__module__], 'print_log',
                        lambda text, **kwargs: warnings.append(text))
    dataset = bin_file(tmp_path / 'x.bin', 1)
    assert score(dict(dataset, indices=27))['face/accuracy'] == 100
    assert ['1 pairs have only one image' in x and '13 are scored' in x
            for x in warnings] == [True]
    built = DATASETS.build(
        dict(dataset, indices=[7, 2, 6, 5], pipeline=[]))
    assert [x.tolist() for x in built.metainfo['pairs']] == [[2], [0], [False]]
    with pytest.raises(ValueError, match='no pair has both'):
        score(dict(dataset, indices=range(0, 40, 2)))


def test_images_that_are_missing(tmp_path):
    dataset = bin_file(tmp_path / 'x.bin', 1)
    with pytest.raises(ValueError, match=r'39 embeddings.*40.*drop_last'):
        score(dataset, drop_last=True)


def test_lists_of_pairs(tmp_path):
    """An image may be in many pairs, of several lists."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (12, 3))
    for i, colour in enumerate(colours):
        (tmp_path / f'{i}.png').write_bytes(encoded(colour))
    datasets, expected = [], []
    for name in 'ab':
        pairs = rng.integers(0, 12, (30, 2))
        same = np.arange(30) % 2 == 0
        (tmp_path / name).write_text(''.join(
            f'{a}.png {b}.png {int(y)}\n' for (a, b), y in zip(pairs, same)))
        datasets.append(
            dict(
                type='FacePairs',
                ann_file=str(tmp_path / name),
                data_prefix=dict(img_path=str(tmp_path)),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='PackInputs')
                ]))
        expected.append(
            Verification(torch.as_tensor(colours), *pairs.T, same, folds=10))
    figures = score(concat(*datasets))
    for name, result in zip('ab', expected):
        for key, value in result.summary((0.1, 0.01, 0.001)).items():
            assert figures[f'face/{name}/{key}'] == pytest.approx(value)


def labelled(folder, people, name):
    """Three images of each person, in a list of their own."""
    lines = []
    for who, colour in people.items():
        for k in range(3):
            file = f'{name}_{who}_{k}.png'
            (folder / file).write_bytes(encoded(np.add(colour, 5 * k)))
            lines.append(f'{file} {who}\n')
    (folder / f'{name}.txt').write_text(''.join(lines))
    return dict(
        type='CustomDataset',
        data_prefix=str(folder),
        ann_file=str(folder / f'{name}.txt'),
        pipeline=[dict(type='LoadImageFromFile'),
                  dict(type='PackInputs')])


@pytest.mark.parametrize('metric', ['FaceVerification', 'FaceIdentification'])
def test_sets_of_labels(tmp_path, metric):
    """Two sets are scored like one that has all their images."""
    rng = np.random.default_rng(0)
    colours = {who: rng.integers(0, 240, 3) for who in range(8)}
    parts = [
        labelled(tmp_path, {who: colours[who] for who in part}, name)
        for part, name in ((range(5), 'a'), (range(5, 8), 'b'))
    ]
    (tmp_path / 'c.txt').write_text((tmp_path / 'a.txt').read_text() +
                                    (tmp_path / 'b.txt').read_text())
    whole = score(dict(parts[0], ann_file=str(tmp_path / 'c.txt')), metric)
    assert score(concat(*parts), metric) == whole
    assert score(
        dict(type='RepeatDataset', dataset=concat(*parts), times=2),
        metric) == whole


def test_images_that_cannot_be_told_apart(tmp_path):
    """Rather an error than a figure of some of the images."""
    pack = [dict(type='LoadImageFromFile'),
            dict(type='PackInputs', meta_keys=['sample_idx'])]
    parts = [
        dict(
            labelled(tmp_path, {0: (9, 9, 200), 1: (200, who, 9)}, name),
            pipeline=pack) for who, name in ((9, 'a'), (190, 'b'))
    ]
    score(parts[0], 'FaceIdentification')
    with pytest.raises(ValueError, match='one image, number 3.*img_path'):
        score(concat(*parts), 'FaceIdentification')


def test_pairs_beside_labels(tmp_path):
    with pytest.raises(ValueError, match='6 of 46 images come without pairs'):
        score(
            concat(
                dict(bin_file(tmp_path / 'x.bin', 1), metainfo=dict()),
                dict(labelled(tmp_path, {0: (9, 9, 9), 1: (200, 9, 9)}, 'a')),
                ignore_keys=['pairs', 'classes']))
