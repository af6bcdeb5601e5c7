# Copyright (c) sskd_mm authors. All rights reserved.
"""Mirrored images in tools/test.py, as a user calls it."""
import importlib.util
import json
import pickle
import sys
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS, DefaultScope

from sskd_mm.evaluation import Verification

CONFIG = '''
custom_imports = dict(imports=['sskd_mm'])
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileFaceNet', blocks=(1, 1, 1, 1), scale=1,
                  embedding=8, input_size=16),
    head=dict(type='EmbeddingHead'))
test_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset',
        data_root='faces',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
test_evaluator = dict(type='KeepEmbeddings')
test_cfg = dict(type='TestLoop')
tta_model = dict(type='MirroredEmbeddingTTA')
'''


check = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-6)


@METRICS.register_module()
class KeepEmbeddings(BaseMetric):
    """Keeps what the metrics get."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        type(self).samples = results
        return dict(count=len(results))


@pytest.fixture
def call(root, tmp_path, monkeypatch):
    """Calls the tool; returns the samples that its metric got."""
    spec = importlib.util.spec_from_file_location('test_tool',
                                                  root / 'tools/test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        monkeypatch.setattr(
            sys, 'argv', ['test.py', 'config.py', 'checkpoint.pth', *args])
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            tool.main()
        return getattr(KeepEmbeddings, 'samples', None)

    return call


@pytest.fixture
def model(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    cfg = Config.fromfile(tmp_path / 'config.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    for _ in range(30):  # Untrained statistics would leave next to nothing.
        model.backbone(torch.rand(16, 3, 16, 16) * 2 - 1)
    torch.save(
        dict(state_dict=model.state_dict()), tmp_path / 'checkpoint.pth')
    return model.eval()


def test_image_and_mirrored_image(call, model, tmp_path):
    images = np.random.default_rng(0).integers(
        0, 256, (4, 16, 16, 3), dtype=np.uint8)
    for k, image in enumerate(images):
        file = tmp_path / f'faces/p{k // 2}/{k}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image)
    x = torch.as_tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2)
    x = (x.float() - 127.5) / 127.5
    with torch.no_grad():
        plain, mirrored = (model.backbone(y)[-1] for y in (x, x.flip(-1)))
    samples = call()
    found = torch.stack([sample['embedding'] for sample in samples])
    check(found, plain)
    samples = call('--tta')
    found = torch.stack([sample['embedding'] for sample in samples])
    check(found, plain + mirrored)
    assert (plain - mirrored).abs().max() > 1e-3
    # What else the metrics need.
    assert [sample['sample_idx'] for sample in samples] == [0, 1, 2, 3]
    assert [int(sample['gt_label']) for sample in samples] == [0, 0, 1, 1]

    # The same by a pipeline that is written out.
    (tmp_path / 'config.py').write_text(CONFIG + '''
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=1.)], [dict(type='PackInputs')]])
]
''')
    samples = call('--tta')
    found = torch.stack([sample['embedding'] for sample in samples])
    check(found, mirrored)


def test_no_model_for_views(call, model, tmp_path):
    """A network for faces has no scores that could be averaged."""
    (tmp_path / 'faces/p').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'faces/p/0.png'), np.eye(16) * 99)
    expected = call('--tta')[0]['embedding']
    (tmp_path / 'config.py').write_text(
        CONFIG.replace('tta_model', 'something'))
    assert torch.equal(call('--tta')[0]['embedding'], expected)
    assert not torch.equal(call()[0]['embedding'], expected)


def test_sets_of_pairs(call, model, tmp_path):
    """Views of an image keep what tells it and its pairs apart."""
    images = np.random.default_rng(0).integers(
        0, 256, (60, 16, 16, 3), dtype=np.uint8)
    embeddings = []
    for flip in (1, -1):
        x = torch.as_tensor(images[:, :, ::flip, ::-1].copy())
        x = (x.permute(0, 3, 1, 2).float() - 127.5) / 127.5
        with torch.no_grad():
            embeddings.append(model.backbone(x)[-1])
    same = np.arange(30) % 2 == 0
    encoded = [cv2.imencode('.png', image)[1].tobytes() for image in images]
    for name, part in (('a', slice(0, 12)), ('b', slice(12, 30))):
        with open(f'{name}.bin', 'wb') as file:
            pickle.dump((encoded[2 * part.start:2 * part.stop],
                         same[part].tolist()), file)
    (tmp_path / 'config.py').write_text(
        CONFIG.replace('KeepEmbeddings', 'FaceVerification') + '''
pack = [dict(type='PackInputs')]
test_dataloader['dataset'] = dict(type='ConcatDataset', datasets=[
    dict(type='FaceBin', ann_file='a.bin', pipeline=pack),
    dict(type='FaceBin', ann_file='b.bin', pipeline=pack)])
''')
    for args, x in (((), embeddings[0]), (('--tta', ), sum(embeddings))):
        work_dir = tmp_path / f'run{len(args)}'
        call(*args, '--work-dir', str(work_dir))
        file, = work_dir.glob('*/*.json')
        figures = json.loads(file.read_text())
        for name, part in (('a', slice(0, 12)), ('b', slice(12, 30))):
            expected = Verification(x[2 * part.start:2 * part.stop],
                                    *pairs(part), same[part], folds=10)
            for key, value in expected.summary((0.1, )).items():
                assert figures[f'face/{name}/{key}'] == pytest.approx(
                    value, abs=1e-3)


def pairs(part):
    first = np.arange(0, 2 * (part.stop - part.start), 2)
    return first, first + 1
