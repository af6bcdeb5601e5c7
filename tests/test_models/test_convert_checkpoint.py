# Copyright (c) sskd_mm authors. All rights reserved.
import os

import pytest
import torch
from mmengine.config import Config

from sskd_mm.compat import UntrustedCheckpointError
from sskd_mm.models import CIFARResNet, convert_checkpoint


def _rename(key, backbone):
    assert isinstance(backbone, CIFARResNet)
    root = 'head' if key.startswith('fc.') else 'backbone'
    return f'{root}.{key}'.replace('backbone.linear.', 'head.fc.')


@pytest.fixture
def files(root, tmp_path):
    """A config, a fitting checkpoint's weights, and a function that converts
    others."""
    config = str(root / 'configs/_base_/models/cifar_resnet20.py')
    weights = {
        **CIFARResNet(20).state_dict(), 'fc.weight': torch.rand(100, 64),
        'fc.bias': torch.rand(100)
    }
    src, dst = str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth')

    def convert(checkpoint):
        torch.save(checkpoint, src)
        convert_checkpoint(config, src, dst, _rename)
        return torch.load(dst, weights_only=True)

    return config, weights, convert, dst


@pytest.mark.parametrize('form', [
    lambda weights: weights,
    lambda weights: dict(model=weights, epoch=240, best_acc=70.5),
    lambda weights: dict(state_dict={
        f'module.{key}': value
        for key, value in weights.items()
    })
])
def test_forms_of_files(files, form):
    _, weights, convert, _ = files
    out = convert(form(weights))
    assert out['meta'] == dict(converted_from='src.pth')
    assert len(out['state_dict']) == len(weights)
    for key, value in weights.items():
        assert torch.equal(out['state_dict'][_rename(key, CIFARResNet(8))],
                           value)


def test_counters_of_old_files(files):
    _, weights, convert, _ = files
    old = {k: v for k, v in weights.items() if 'num_batches' not in k}
    assert len(old) < len(weights)
    out = convert(old)['state_dict']
    assert len(out) == len(weights)
    assert out['backbone.bn1.num_batches_tracked'] == 0


def test_every_key_counts(files):
    config, weights, convert, dst = files
    del weights['layer1.0.bn1.bias']
    weights['layer1.3.conv1.weight'] = torch.rand(16, 16, 3, 3)
    weights['fc.bias'] = torch.rand(10)
    with pytest.raises(ValueError) as error:
        convert(weights)
    text = str(error.value)
    assert text.splitlines()[1:4] == [
        'Not in the model (1): layer1.3.conv1.weight.',
        'Different shape (1): fc.bias (10,), model has head.fc.bias (100,).',
        'Missing from the file (1): backbone.layer1.0.bn1.bias.'
    ]
    assert config in text and 'CIFARResNet' in text
    assert not os.path.exists(dst)


def test_two_weights_of_one_name(files):
    _, weights, convert, _ = files
    # Only one of them would have been kept.
    weights['linear.bias'] = weights['fc.bias'] + 1
    with pytest.raises(
            ValueError, match=r'Not in the model \(1\): linear.bias'):
        convert(weights)


def test_a_model_without_a_backbone(files, tmp_path):
    config = str(tmp_path / 'distiller.py')
    Config(
        dict(
            model=dict(
                type='StageByStageDistiller',
                student=Config.fromfile(files[0]).model.to_dict(),
                teacher=dict(cfg='none.py', checkpoint='none.pth')))).dump(
                    config)
    with pytest.raises(
            ValueError,
            match='StageByStageDistiller, has no '
            'backbone. Give a plain classifier config'):
        convert_checkpoint(config, 'src.pth', 'dst.pth', _rename)


class Hostile:

    def __reduce__(self):
        return os.mkdir, ('it_ran', )


def test_a_stranger_s_pickle(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UntrustedCheckpointError):
        files[2](dict(model=files[1], optimizer=Hostile()))
    assert not os.path.exists('it_ran')
