# Copyright (c) sskd_mm authors. All rights reserved.
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


def test_forward_in_bfloat16_and_step_in_float32():
    model = nn.Linear(3, 2)
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='BFloat16OptimWrapper',
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1)))
    inputs = torch.rand(4, 3)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        out = model(inputs)
        assert out.dtype == torch.bfloat16
        loss = out.float().sum()
    assert model(inputs).dtype == torch.float32
    wrapper.update_params(loss)
    assert model.weight.dtype == torch.float32
    # The sum's gradient is the sum of the inputs.
    torch.testing.assert_close(
        before - model.weight, 0.1 * inputs.sum(0).expand(2, 3), rtol=0.02,
        atol=0.002)
