# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from mmengine.model import ImgDataPreprocessor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sskd_mm.distillers.renormalize import Renormalize


class NoMoving(TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


def test_student_on_a_gpu_when_the_teacher_is_built(monkeypatch):
    """Uses tensors that claim to be on a GPU, so that none is needed."""
    student = ImgDataPreprocessor(mean=[100.] * 3, std=[50.] * 3)
    teacher = ImgDataPreprocessor(mean=[0.] * 3, std=[1.] * 3)
    # Meta tensors have no values, so nothing can be compared.
    monkeypatch.setattr(FakeTensor, '__bool__', lambda self: False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for name in ('mean', 'std'):
            student._buffers[name] = torch.ones(3, 1, 1, device='cuda')
        renormalize = Renormalize(student, teacher, torch.device('cuda'))
        images = torch.zeros(2, 3, 8, 8, device='cuda')
        with NoMoving():
            assert renormalize(images, [(8, 8), (8, 6)]).is_cuda
