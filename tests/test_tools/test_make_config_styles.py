# Copyright (c) sskd_mm authors. All rights reserved.
"""Students whose configs are of another style than mmdet's own."""
import pytest
from mmengine.config import Config
from new_style_config import write_new_style

from sskd_mm.distillers import StageByStageDistiller

SMALL, LARGE = 'configs/digits/small.py', 'configs/digits/large.py'
TEACHER = 'checkpoints/large.pth'


def test_new_style(make, classifiers, digit_images, monkeypatch):
    """A student of MMEngine's new style; the written config is, too."""
    student = write_new_style(classifiers / 'own', digit_images)
    args = student, classifiers / 'large.py', classifiers / 'large.pth'
    cfg = make(classifiers / 'out/distilled.py', *args)
    assert cfg.model.type is StageByStageDistiller
    assert cfg.model.student.type.__name__ == 'ImageClassifier'
    assert (classifiers / 'large.pth').samefile(cfg.model.teacher.checkpoint)
    assert cfg.train_cfg.schedule == ['joint', 'last']
    assert cfg.train_cfg.mimic.optim_wrapper.optimizer == dict(
        lr=1.0, weight_decay=1e-5)
    assert cfg.train_cfg.phases['mimic/last'].max_epochs == 3
    assert cfg.warmup == 500
    with pytest.raises(ValueError, match="'my-configs' is no name of one"):
        student.parent.rename(classifiers / 'my-configs')
        make(classifiers / 'out/other.py',
             classifiers / 'my-configs/student.py',
             *args[1:])
    # Beside it, it is found.
    make(classifiers / 'my-configs/out.py',
         classifiers / 'my-configs/student.py', *args[1:])
    with pytest.raises(ValueError, match='import what it needs in it'):
        make(classifiers / 'out/other.py',
             classifiers / 'my-configs/student.py', *args[1:], '--import',
             'json')


def test_by_iteration(make, own_project, tmp_path):
    cfg = Config.fromfile(SMALL)
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=1200, val_interval=300)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.dump(tmp_path / 'small.py')
    made = make(tmp_path / 'out.py', tmp_path / 'small.py', LARGE, TEACHER)
    train_cfg = made.train_cfg
    assert [train_cfg[phase].max_iters
            for phase in ('mimic', 'head', 'finetune')] == [500, 100, 600]
    assert train_cfg.val_interval == 300
    assert 'max_epochs' not in train_cfg.mimic
    # By epoch: a phase of iterations is one long epoch.
    assert train_cfg.mimic.param_scheduler[1].by_epoch
    # MMEngine's default is the engine's, too.
    del cfg.train_cfg['val_interval']
    cfg.dump(tmp_path / 'small.py')
    made = make(tmp_path / 'out2.py', tmp_path / 'small.py', LARGE, TEACHER)
    assert 'val_interval' not in made.train_cfg


def test_names_and_quotes(make, own_project, tmp_path):
    """Names that the student's config has of its own stay as they are, and
    any path is written as it is."""
    folder = tmp_path / 'Bob\'s "own" project'
    folder.mkdir()
    cfg = Config.fromfile(SMALL)
    own = dict(warmup=500, cosine='a', student=[1], mimic=dict(a=1), sskd=2)
    cfg.merge_from_dict(own)
    cfg.dump(folder / 'small.py')
    Config.fromfile(LARGE).dump(folder / 'large.py')
    (folder / 'large.pth').symlink_to(own_project / TEACHER)
    made = make(folder / 'out.py', folder / 'small.py', folder / 'large.py',
                folder / 'large.pth')
    assert {key: made[key] for key in own} == own
    assert (folder / 'large.pth').samefile(made.model.teacher.checkpoint)
    assert (folder / 'large.py').samefile(made.model.teacher.cfg)


def test_import(make, own_project, tmp_path, monkeypatch):
    """A project that registers its networks in its own train.py."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'registered_by_train.py').write_text(
        'from my_project.models import Plain\n'
        'from mmdet.registry import MODELS\n'
        'MODELS.register_module(name="Unheard", module=Plain)\n')
    for name in ('small', 'large'):
        cfg = Config.fromfile(f'configs/digits/{name}.py')
        cfg.model.backbone.type = 'Unheard'
        cfg.dump(tmp_path / f'{name}.py')
    args = (tmp_path / 'out.py', tmp_path / 'small.py', tmp_path / 'large.py',
            TEACHER)
    with pytest.raises(ValueError, match='--import MODULE'):
        make(*args)
    made = make(*args, '--import', 'registered_by_train')
    assert made.custom_imports.imports == [
        'sskd_mm', 'my_project', 'registered_by_train'
    ]
    with pytest.raises(ImportError, match='PYTHONPATH=. before it'):
        make(tmp_path / 'out2.py', *args[1:], '--import', 'not_there')
