# Copyright (c) sskd_mm authors. All rights reserved.
"""What is written is held against the model by ONNX Runtime, here anew and
with the preprocessing done by hand."""
import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config

from sskd_mm.models import build_model

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')


def save(cfg, path):
    model = build_model(cfg).eval()
    torch.manual_seed(0)
    for buffer in model.buffers():
        if buffer.is_floating_point() and buffer.dim() == 1:
            # Statistics of a network that has been trained.
            buffer.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=model.state_dict()), path)
    return model


def test_classifier(call_tool, classifier_cfg, digit_images, tmp_path,
                    capsys):
    cfg = classifier_cfg(tmp_path, dict(type='ResNet', depth=18), 512)
    cfg.dump(tmp_path / 'plain.py')
    model = save(cfg, tmp_path / 'student.pth')
    call_tool('tools/export_onnx.py', tmp_path / 'plain.py',
              tmp_path / 'student.pth', '-o', tmp_path / 'student.onnx')
    assert 'channels: RGB' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(tmp_path / 'student.onnx')
    meta = session.get_modelmeta().custom_metadata_map
    mean, std = (
        np.array(meta[key].split(', '), np.float32).reshape(3, 1, 1)
        for key in ('mean', 'std'))
    files = sorted(digit_images.glob('val/*/*.png'))[:5]
    images = np.stack([
        mmcv.imread(file, channel_order='rgb').transpose(2, 0, 1)
        for file in files
    ])
    logits, = session.run(None,
                          dict(images=((images - mean) / std).astype('f4')))
    # As its own test set has them: BGR, unnormalised.
    data = dict(inputs=[torch.from_numpy(x[::-1].copy()) for x in images])
    with torch.no_grad():
        data = model.data_preprocessor(data)
        expected = model(data['inputs'], mode='tensor')
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    output, = session.get_outputs()
    assert output.name == 'logits' and output.shape == ['batch', 10]


def test_detector(call_tool, own_project, tmp_path, monkeypatch):
    """Of a distillation the student, without its teacher."""
    monkeypatch.chdir(own_project)
    cfg = Config.fromfile('configs/digits/small.py')
    model = save(cfg, tmp_path / 'student.pth')
    call_tool('tools/export_onnx.py', 'configs/digits/distilled.py',
              tmp_path / 'student.pth', '-o', tmp_path / 'student.onnx',
              '--cfg-options', 'model.teacher.checkpoint=gone.pth')
    session = onnxruntime.InferenceSession(tmp_path / 'student.onnx')
    images = torch.rand(2, 3, 64, 64)
    found = session.run(None, dict(images=images.numpy()))
    with torch.no_grad():
        scores, boxes = model(images, mode='tensor')
    assert len(found) == 6
    for ours, theirs in zip([*scores, *boxes], found):
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)


def test_what_differs_is_not_kept(call_tool, own_project, tmp_path,
                                  monkeypatch):
    class Other:

        def __init__(self, path, **kwargs):
            self.session = onnxruntime_session(path, **kwargs)

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, *args):
            return [1.01 * x for x in self.session.run(*args)]

    onnxruntime_session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, 'InferenceSession', Other)
    monkeypatch.chdir(own_project)
    with pytest.raises(RuntimeError, match='something else than the model'):
        call_tool('tools/export_onnx.py', 'configs/digits/large.py',
                  'checkpoints/large.pth', '-o', tmp_path / 'x.onnx',
                  '--size', 32, 32)
    assert not list(tmp_path.iterdir())
