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
import os.path as osp
from importlib.util import find_spec

from sskd_mm_cli import ConfigParser, run_tool


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
    from sskd_mm.analysis import describe_input, export_onnx, load_networks
    cfg = parser.read_config(args)
    # The teacher has no part in it.
    cfg.model = cfg.model.get('student', cfg.model)
    model = load_networks(cfg, None, args.checkpoint)['model']
    shapes, error = export_onnx(model, args.size or test_size(cfg, model),
                                args.out)
    print(f'Written: {args.out}, {osp.getsize(args.out) / 2**20:.1f} MiB. '
          f'ONNX Runtime differs by {error:.1e} at most, where the largest '
          'value is 1.')
    for name, shape in shapes.items():
        print(f'  {name}: {" x ".join(map(str, shape))}')
    for name, value in describe_input(model).items():
        print(f'  {name}: {value}')


def test_size(cfg, model):
    """Height and width of the first test image, as the network gets it."""
    from sskd_mm.analysis import build_test_loader
    batch = next(iter(build_test_loader(cfg)))
    return tuple(model.data_preprocessor(batch, False)['inputs'].shape[-2:])


if __name__ == '__main__':
    run_tool(main)
