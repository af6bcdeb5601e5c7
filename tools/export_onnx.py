# Copyright (c) sskd_mm authors. All rights reserved.
"""Export a student to ONNX, and check that ONNX Runtime computes the same.

python tools/export_onnx.py CONFIG CHECKPOINT -o student.onnx

The config is either the distiller's or the student's plain one. The exported
network takes normalised and padded images; the preprocessing is printed, and
stored in the file's metadata. It outputs

- for a classifier, the logits;
- for a face network, the embedding, not normalised;
- for a one-stage detector, the outputs of its head, level by level;
- for any other detector, the outputs of its neck.

Boxes are not decoded, since mmdet branches on the result of NMS, which a graph
cannot express. For complete detectors see MMDeploy, which rewrites that part.
"""
import os
import os.path as osp
import warnings
from importlib.util import find_spec
from typing import Any, Dict, Iterator, Tuple, Union

import torch
from mmengine.config import Config
from torch import Tensor, nn

from sskd_mm.analysis import ConfigParser, build_test_loader, load_networks
from sskd_mm.models import EmbeddingHead

#: Of the largest value of an output, so much may differ by rounding.
TOLERANCE = 1e-4


class Exported(nn.Module):
    """The part of a model that is exported, with a flat list of outputs.

    Args:
        model (nn.Module): A model of mmdet or mmpretrain.
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


def main():
    parser = ConfigParser(__doc__, 'of a distillation, or a plain one')
    parser.add_argument('checkpoint', help='of the student')
    parser.add_argument(
        '-o', '--out', required=True, help='the ONNX file to write')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images, padded; default: of the first test image')
    args = parser.parse_args()
    missing = [
        name for name in ('onnx', 'onnxscript', 'onnxruntime')
        if find_spec(name) is None
    ]
    if missing:
        raise ImportError(f'The export needs {", ".join(missing)}: '
                          "pip install 'sskd-mm[onnx]'")
    cfg = parser.read_config(args)
    # The teacher has no part in it.
    cfg.model = cfg.model.get('student', cfg.model)
    model = load_networks(cfg, None, args.checkpoint)['model']
    network = Exported(model).eval()
    size = args.size or test_size(cfg, model)
    try:
        # Batches of any size, unless the network makes constants of one.
        for batch in ('batch', 1):
            export(network, size, batch, args.out)
            shapes, error = check(network, size, args.out)
            if error <= TOLERANCE:
                break
        else:
            raise RuntimeError(
                'The exported network computes something else than the model: '
                f'where the largest value of an output is 1, {error:.1e} is '
                f'the difference; rounding makes {TOLERANCE:.0e} at most. '
                'Nothing was written. Maybe a layer depends on the values of '
                'its input, which the graph cannot hold.')
    except Exception:
        if osp.exists(args.out):
            os.remove(args.out)
        raise
    print(f'Written: {args.out}, {osp.getsize(args.out) / 2**20:.1f} MiB. '
          f'ONNX Runtime differs by {error:.1e} at most, where the largest '
          'value is 1.')
    for name, shape in shapes.items():
        print(f'  {name}: {" x ".join(map(str, shape))}')
    for name, value in describe_input(model).items():
        print(f'  {name}: {value}')


def test_size(cfg: Config, model: nn.Module) -> Tuple[int, int]:
    """Height and width of the first test image, as the network gets it."""
    batch = next(iter(build_test_loader(cfg)))
    return tuple(model.data_preprocessor(batch, False)['inputs'].shape[-2:])


def describe_input(model: nn.Module) -> Dict[str, str]:
    """What the data preprocessor does to an image, in words."""
    preprocessor = model.data_preprocessor
    values = {}
    for key in ('mean', 'std'):
        value = getattr(preprocessor, key, None)
        if value is not None:
            values[key] = ', '.join(f'{x:g}' for x in value.flatten().tolist())
    rgb = any(
        getattr(preprocessor, key, False)
        for key in ('_channel_conversion', 'to_rgb'))
    # OpenCV, by which both libraries read images, has them as BGR.
    values['channels'] = 'RGB' if rgb else 'BGR'
    return values


def export(network: Exported, size: Tuple[int, int], batch: Union[str, int],
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
def check(network: Exported, size: Tuple[int, int],
          out: str) -> Tuple[Dict[str, list], float]:
    """Compare with ONNX Runtime on images that the export has not seen.

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


if __name__ == '__main__':
    main()
