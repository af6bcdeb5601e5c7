# Copyright (c) sskd_mm authors. All rights reserved.
"""``student.py`` beside the checkpoints, in a process without sskd_mm."""
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import mmcv
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint

from sskd_mm.models import build_model

#: Starts a process without sskd_mm, but with its stand-ins for mmcv's
#: operators if mmcv has none.
BEGIN = '''
import importlib, json, sys, types
sys.modules['compat'] = package = types.ModuleType('compat')
package.__path__ = [{compat!r}]
importlib.import_module('compat.mmcv_ext').install()
sys.modules['sskd_mm'] = None  # its import fails from now on
config, checkpoint, image = {args!r}
'''
DETECTOR = '''
from mmdet.apis import DetInferencer, inference_detector, init_detector
model = init_detector(config, checkpoint, device='cpu')
inferencer = DetInferencer(
    config, checkpoint, device='cpu', show_progress=False)
result = dict(
    classes=model.dataset_meta['classes'],
    scores=inference_detector(model, image).pred_instances.scores.tolist(),
    inferred=inferencer(image)['predictions'][0]['scores'])
'''
CLASSIFIER = '''
from mmpretrain import ImageClassificationInferencer
found, = ImageClassificationInferencer(config, checkpoint, device='cpu')(image)
result = dict(name=found['pred_class'], scores=found['pred_scores'].tolist())
'''
#: As in the libraries' own tools/test.py.
TEST = '''
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(config)
cfg.load_from, cfg.work_dir = checkpoint, 'tested'
print(json.dumps(dict(result, metrics=Runner.from_cfg(cfg).test())))
'''


@pytest.fixture
def outside(root, tmp_path):
    """Returns a function that runs code in a process without sskd_mm."""

    # MMEngine 0.10.7 cannot read its own checkpoints with torch 2.6 or later,
    # as they hold more than weights.
    env = dict(os.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1')

    def run(code, *args):
        begin = BEGIN.format(
            compat=str(root / 'sskd_mm/compat'), args=list(map(str, args)))
        done = subprocess.run([sys.executable, '-c', begin + code + TEST],
                              cwd=tmp_path,
                              env=env,
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def train(cfg):
    """Returns the last checkpoint and the metrics of its validation."""
    cfg.custom_hooks = [dict(type='StudentConfigHook')]
    Runner.from_cfg(cfg).train()
    folder = Path(cfg.work_dir)
    result = json.loads((folder / 'result.json').read_text())
    metrics = {
        key: value
        for key, value in result['student_curve'][-1].items() if '/' in key
    }
    return (folder / 'last_checkpoint').read_text(), metrics


def test_detector(distill_cfg, digits, outside, tmp_path):
    cfg = distill_cfg(
        tmp_path / 'run', **{
            'model.stages': ['neck'],
            # No need to wait until it has learned.
            'model.student.test_cfg.rcnn.score_thr': 0.01
        })
    checkpoint, metrics = train(cfg)
    image = next(digits.rglob('val/*.png'))
    found = outside(DETECTOR, tmp_path / 'run/student.py', checkpoint, image)
    assert found['classes'][:3] == ['zero', 'one', 'two']
    assert found['metrics'] == pytest.approx(metrics)
    # As mmdet does with a hand-written config.
    from mmdet.apis import inference_detector, init_detector
    plain = Config(
        dict(
            model=cfg.model.student,
            default_scope='mmdet',
            test_dataloader=cfg.test_dataloader))
    model = init_detector(plain, checkpoint, device='cpu')
    expected = inference_detector(model, str(image)).pred_instances.scores
    assert len(expected) > 0
    for scores in (found['scores'], found['inferred']):
        assert scores == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.fixture
def distil_classifier(classifier_cfg, tmp_path):
    """Returns a function that makes the distillation of a plain config."""

    def make(student):
        student.dump(tmp_path / 'teacher.py')
        torch.save(
            dict(state_dict=build_model(student).state_dict()),
            tmp_path / 'teacher.pth')
        cfg = copy.deepcopy(student)
        cfg.model = dict(
            type='StageByStageDistiller',
            student=student.model,
            teacher=dict(
                cfg=str(tmp_path / 'teacher.py'),
                checkpoint=str(tmp_path / 'teacher.pth')),
            stages=['backbone.layer4', 'neck'])
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            schedule='last',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        return cfg

    return make


def test_classifier(distil_classifier, classifier_cfg, digit_images, outside,
                    tmp_path):
    backbone = dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=8,
        stem_channels=8)
    cfg = distil_classifier(classifier_cfg(tmp_path / 'run', backbone, 64))
    # Beside the checkpoints, in any folder.
    cfg.default_hooks.checkpoint.out_dir = str(tmp_path / 'elsewhere')
    # Without a test set, the validation set is used.
    assert 'test_dataloader' not in cfg
    checkpoint, metrics = train(cfg)
    assert checkpoint.startswith(str(tmp_path / 'elsewhere/run'))
    image = digit_images / 'val/3/0.png'
    found = outside(CLASSIFIER, Path(checkpoint).parent / 'student.py',
                    checkpoint, image)
    assert found['name'] in '0123456789'
    assert found['metrics'] == pytest.approx(metrics)
    plain = build_model(cfg).eval()
    load_checkpoint(plain, checkpoint, strict=True)
    pixels = torch.from_numpy(mmcv.imread(str(image))).permute(2, 0, 1)
    scores, = plain.test_step(dict(inputs=[pixels], data_samples=None))
    assert found['scores'] == pytest.approx(
        scores.pred_score.tolist(), abs=1e-5)


def test_own_networks(distil_classifier, classifier_cfg, tmp_path):
    """A network of sskd_mm needs its import."""
    backbone = dict(type='WideResNet', depth=10, widen_factor=1)
    cfg = distil_classifier(classifier_cfg(tmp_path / 'run', backbone, 64))
    cfg.model.stages = ['neck']
    train(cfg)
    text = (tmp_path / 'run/student.py').read_text()
    assert 'It needs sskd_mm, for WideResNet.' in text[:200]
    plain = Config.fromfile(tmp_path / 'run/student.py')
    assert plain.custom_imports.imports == ['sskd_mm']
