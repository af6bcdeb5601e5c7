# Copyright (c) sskd_mm authors. All rights reserved.
import os
import os.path as osp
import warnings
from typing import Any, Dict, Iterator, Tuple, Union

import torch
from torch import Tensor, nn

from ..models import EmbeddingHead

#: Tolerated rounding error, relative to the largest value of an output.
TOLERANCE = 1e-4


class _Exported(nn.Module):
    """The exported part of a model, with a flat list of outputs.

    Args:
        model (nn.Module): An mmdet or mmpretrain model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if isinstance(getattr(model, 'head', None), EmbeddingHead):
            self.part = 'embedding'
        elif hasattr(model, 'head'):
            self.part = 'logits'
        elif hasattr(model, 'bbox_head') and not (hasattr(model, 'roi_head')
                                                  or hasattr(model,
                                                             'encoder')):
            self.part = 'head'
        else:
            self.part = 'feature'

    def forward(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        if self.part in ('logits', 'head'):
            outputs = self.model(inputs, None, mode='tensor')
        else:
            outputs = self.model.extract_feat(inputs)
            if self.part == 'embedding':
                outputs = outputs[-1]
        return tuple(_flat(outputs))


def _flat(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
        return
    for value in outputs.values() if isinstance(outputs, dict) else outputs:
        yield from _flat(value)


def export_onnx(model: nn.Module, size: Tuple[int, int],
                out: str) -> Tuple[Dict[str, list], float]:
    """Export an mmdet or mmpretrain model, and verify it in ONNX Runtime.

    Args:
        model (nn.Module): The model, in eval mode.
        size (tuple[int]): Height and width of the padded images.
        out (str): The file to write. It takes any batch size, unless the
            network turns it into a constant.

    Returns:
        tuple: The shapes of input and outputs by name, and the largest
        difference, relative to an output's largest value.

    Raises:
        RuntimeError: The exported network computes something else; the file
            is removed.

    Example:
        >>> shapes, error = export_onnx(model, (800, 1344), 'student.onnx')
    """
    network = _Exported(model).eval()
    try:
        for batch in ('batch', 1):
            _export(network, size, batch, out)
            shapes, error = _check(network, size, out)
            if error <= TOLERANCE:
                return shapes, error
        raise RuntimeError(
            'The exported network computes something else than the model: '
            f'where the largest value of an output is 1, {error:.1e} is '
            f'the difference; rounding makes {TOLERANCE:.0e} at most. '
            'Nothing was written. Maybe a layer depends on the values of '
            'its input, which the graph cannot hold.')
    except Exception:
        if osp.exists(out):
            os.remove(out)
        raise


def describe_input(model: nn.Module) -> Dict[str, str]:
    """Describe what the data preprocessor does to an image.

    Args:
        model (nn.Module): An mmdet or mmpretrain model.

    Returns:
        dict[str, str]: ``mean`` and ``std``, if it has them, and
        ``channels``, ``'RGB'`` or ``'BGR'``.
    """
    preprocessor = model.data_preprocessor
    values = {}
    for key in ('mean', 'std'):
        value = getattr(preprocessor, key, None)
        if value is not None:
            values[key] = ', '.join(f'{x:g}' for x in value.flatten().tolist())
    rgb = any(
        getattr(preprocessor, key, False)
        for key in ('_channel_conversion', 'to_rgb'))
    # Both libraries read images by OpenCV, as BGR.
    values['channels'] = 'RGB' if rgb else 'BGR'
    return values


def _export(network: _Exported, size: Tuple[int, int], batch: Union[str, int],
            out: str) -> None:
    """Write the file, for batches of one size or, given a name, of any."""
    os.makedirs(osp.dirname(osp.abspath(out)), exist_ok=True)
    # Two for any size: one would be taken for a constant.
    images = torch.zeros(batch if isinstance(batch, int) else 2, 3, *size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        number = len(network(images))
        names = [network.part] if number == 1 else [
            f'{network.part}_{i}' for i in range(number)
        ]
        program = torch.onnx.export(
            network, (images, ),
            input_names=['images'],
            output_names=names,
            dynamic_shapes=None if batch == 1 else ({0: batch}, ),
            dynamo=True,
            verbose=False)
    program.model.metadata_props.update(describe_input(network.model))
    program.save(out, external_data=False)


@torch.no_grad()
def _check(network: _Exported, size: Tuple[int, int],
           out: str) -> Tuple[Dict[str, list], float]:
    """Compare with ONNX Runtime on other images than those of the export.

    Returns:
        tuple: The shapes of input and outputs, and the largest difference,
        where an output's largest value is 1.
    """
    import onnxruntime
    session = onnxruntime.InferenceSession(
        out, providers=['CPUExecutionProvider'])
    source, = session.get_inputs()
    batch = source.shape[0]
    errors = [0.]
    for number in [batch] if isinstance(batch, int) else [1, 3]:
        images = torch.randn(number, 3, *size)
        found = session.run(None, {source.name: images.numpy()})
        for ours, theirs in zip(network(images), map(torch.from_numpy,
                                                     found)):
            scale = ours.abs().max().clamp_min(1e-12)
            # A NaN, too, is a difference.
            errors.append(float((ours - theirs).abs().nan_to_num(1e9).max() /
                                scale))
    nodes = [source, *session.get_outputs()]
    return {node.name: node.shape for node in nodes}, max(errors)
