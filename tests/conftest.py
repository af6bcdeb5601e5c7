# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import gc
import itertools
import os
import pickle
import shutil
from functools import partial
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from sklearn.datasets import load_digits
from tool_process import leave_configs_unformatted

import sskd_mm  # noqa: F401
from sskd_mm.datasets import make_digits_detection

ROOT = Path(__file__).parent.parent
#: MMEngine tells runs apart by name and second; two of one second would share
#: their message hub, and with it logs and notes.
RUNS = itertools.count()


@pytest.fixture(scope='session')
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    """A project folder with 24 + 8 images of the embedded set in it."""
    folder = tmp_path_factory.mktemp('project')
    make_digits_detection(
        folder / 'data' / 'digits', num_train=24, num_val=8)
    return folder


@pytest.fixture(scope='session')
def teacher_checkpoint(tmp_path_factory):
    """Fixed random weights for the teacher of the digits configs."""
    cfg = Config.fromfile(
        ROOT / 'configs/baselines/faster-rcnn_r50_fpn_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict()), path)
    return str(path)


@pytest.fixture
def logged(caplog):
    """What MMEngine's logger, which keeps to itself, says."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def in_mmdet():
    """Build with mmdet as the default scope, as its configs do."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def distill_cfg(digits, teacher_checkpoint):
    """Returns a function that makes a short config of all phases."""
    base = Config.fromfile(ROOT / 'configs/sskd/faster_rcnn_r18_digits.py')

    def make(work_dir, **options):
        cfg = copy.deepcopy(base)
        cfg.model.teacher.cfg = str(
            ROOT / 'configs/baselines/faster-rcnn_r50_fpn_digits.py')
        cfg.model.teacher.checkpoint = teacher_checkpoint
        # The engine's defaults, whatever recipe is shipped.
        cfg.model.stages = 'auto'
        cfg.model.mimic_loss = dict(type='L2MimicLoss')
        cfg.model.inherit = []
        cfg.work_dir = str(work_dir)
        cfg.experiment_name = f'run{next(RUNS)}'
        data = f'{digits}/data/digits/'
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            cfg[key].dataset.data_root = data
        for key in ('val_evaluator', 'test_evaluator'):
            cfg[key].ann_file = data + 'annotations/instances_val.json'
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1
        cfg.merge_from_dict(options)
        return cfg

    return make


@pytest.fixture(scope='session')
def cifar(tmp_path_factory):
    """A folder with both sets in CIFAR's own format: 5 x 8 + 8 images of
    noise of 10 classes, 16 + 8 of 100."""
    root = tmp_path_factory.mktemp('cifar')
    rng = np.random.default_rng(0)

    def write(path, number, **labels):
        images = rng.integers(0, 256, (number, 3072), np.uint8)
        path.write_bytes(pickle.dumps(dict(data=images, **labels), 2))

    folder = root / 'cifar-10-batches-py'
    folder.mkdir()
    for name in (*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'):
        write(folder / name, 8, labels=rng.integers(0, 10, 8).tolist())
    meta = dict(label_names=[f'class {i}' for i in range(10)])
    (folder / 'batches.meta').write_bytes(pickle.dumps(meta, 2))

    folder = root / 'cifar-100-python'
    folder.mkdir()
    for name, number in (('train', 16), ('test', 8)):
        write(
            folder / name,
            number,
            fine_labels=rng.integers(0, 100, number).tolist(),
            coarse_labels=rng.integers(0, 20, number).tolist())
    meta = dict(
        fine_label_names=[f'class {i}' for i in range(100)],
        coarse_label_names=[f'group {i}' for i in range(20)])
    (folder / 'meta').write_bytes(pickle.dumps(meta, 2))
    return root


@pytest.fixture(scope='session')
def digit_images(tmp_path_factory):
    """A folder for each class with real handwritten digits of 32 x 32."""
    folder = tmp_path_factory.mktemp('digit_images')
    data = load_digits()
    for number, label in itertools.product(range(3), range(10)):
        image = data.images[data.target == label][number]
        path = folder / ('val' if number == 0 else 'train') / str(label)
        path.mkdir(parents=True, exist_ok=True)
        image = mmcv.imresize((image * 16).clip(0, 255).astype('uint8'),
                              (32, 32))
        mmcv.imwrite(np.stack([image] * 3, -1), str(path / f'{number}.png'))
    return folder


@pytest.fixture(scope='session')
def classifier_cfg(digit_images):
    """Returns a function that makes the config of a plain classifier of
    mmpretrain: 20 + 10 images, one epoch."""

    def make(work_dir, backbone, in_channels, neck='GlobalAveragePooling',
             size=32):
        loader = dict(
            batch_size=8,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(
                type='CustomDataset',
                data_root=str(digit_images / 'train'),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='Resize', scale=size),
                    dict(type='PackInputs')
                ]))
        val_loader = copy.deepcopy(loader)
        val_loader['sampler']['shuffle'] = False
        val_loader['dataset']['data_root'] = str(digit_images / 'val')
        return Config(
            dict(
                default_scope='mmpretrain',
                work_dir=str(work_dir),
                experiment_name=f'run{next(RUNS)}',
                custom_imports=dict(imports=['sskd_mm']),
                data_preprocessor=dict(
                    num_classes=10,
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                    to_rgb=True),
                model=dict(
                    type='ImageClassifier',
                    backbone=backbone,
                    neck=neck and dict(type=neck),
                    head=dict(
                        type='LinearClsHead',
                        num_classes=10,
                        in_channels=in_channels)),
                train_dataloader=loader,
                val_dataloader=val_loader,
                train_cfg=dict(by_epoch=True, max_epochs=1),
                val_cfg=dict(),
                val_evaluator=dict(type='Accuracy', topk=(1, )),
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
                param_scheduler=[],
                default_hooks=dict(
                    checkpoint=dict(type='CheckpointHook', interval=1)),
                randomness=dict(seed=0),
                log_level='WARNING'))

    return make


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """MMEngine's ``AmpOptimWrapper`` as it is, let in on a CPU."""
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper.'
    monkeypatch.setattr(module + 'is_cuda_available', lambda: True)
    monkeypatch.setattr(module + 'GradScaler',
                        partial(torch.amp.GradScaler, 'cpu'))
    # It allows bfloat16 only on a CPU, which torch does not any more.
    monkeypatch.setattr('mmengine.runner.amp.autocast',
                        lambda dtype: torch.autocast('cpu', dtype))


def pytest_addoption(parser):
    parser.addoption(
        '--matrix',
        action='store_true',
        help='run the whole matrix of tests/test_matrix.py and write its page')
    parser.addoption(
        '--slow',
        action='store_true',
        help='run the tests marked slow, too, as --matrix does')
    parser.addoption(
        '--kills',
        type=int,
        default=2,
        help='trainings that are killed twice each and resumed')


def pytest_collection_modifyitems(config, items):
    if not (config.getoption('--slow') or config.getoption('--matrix')):
        slow = [item for item in items if item.get_closest_marker('slow')]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def pytest_configure(config):
    # Two test processes on two cores would otherwise fight for them.
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 2)))
    leave_configs_unformatted()


@pytest.fixture(scope='session')
def browser():
    """The command of a browser without a window. `.ci/run` installs one."""
    names = 'chromium', 'chromium-browser', 'google-chrome'
    command = next(filter(None, map(shutil.which, names)), None)
    if command is None:
        pytest.skip('needs one of ' + ', '.join(names))
    return [command, '--headless', '--no-sandbox', '--disable-gpu']


@pytest.fixture
def quick_garbage_collection():
    """MMEngine collects garbage for each data set that it reads, which takes
    most of a second where all packages are imported."""
    gc.freeze()
    yield
    gc.unfreeze()
