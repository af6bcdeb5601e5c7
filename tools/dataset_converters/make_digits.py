# Copyright (c) sskd_mm authors. All rights reserved.
"""Make a COCO-format detection set of handwritten digits.

python tools/dataset_converters/make_digits.py data/digits
"""
import json
import time
from collections import Counter

from sskd_mm_cli import ToolParser, run_tool


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('out_dir', help='folder of the set, e.g. data/digits')
    parser.add_argument(
        '--num-train', type=int, default=1000,
        help='training images; default: %(default)s')
    parser.add_argument(
        '--num-val', type=int, default=200,
        help='validation images; default: %(default)s')
    parser.add_argument(
        '--image-size', type=int, default=128,
        help='side in pixels; default: %(default)s')
    parser.add_argument(
        '--seed', type=int, default=0,
        help='random seed; default: %(default)s')
    return parser.parse_args()


def main():
    args = parse_args()
    from sskd_mm.datasets.digits_detection import (CLASSES,
                                                   make_digits_detection)
    start = time.time()
    out_dir = make_digits_detection(args.out_dir, args.num_train, args.num_val,
                                    args.image_size, args.seed)
    seconds = time.time() - start

    boxes = {}
    for split in ('train', 'val'):
        path = out_dir / 'annotations' / f'instances_{split}.json'
        content = json.loads(path.read_text())
        boxes[split] = Counter(ann['category_id']
                               for ann in content['annotations'])
        print(f'{split}: {len(content["images"])} images, '
              f'{len(content["annotations"])} boxes')
    print(f'{"class":8}{"train":>8}{"val":>8}')
    for i, name in enumerate(CLASSES, 1):
        print(f'{name:8}{boxes["train"][i]:8}{boxes["val"][i]:8}')
    print(f'{out_dir} is ready ({seconds:.1f} s)')


if __name__ == '__main__':
    run_tool(main)
