# Copyright (c) sskd_mm authors. All rights reserved.
"""Split images in one folder per person into people for training and people
for verification.

python tools/dataset_converters/make_face_lists.py data/orl_faces [--unseen 10]

Writes lists next to the folders, or to --out:

- train.txt: an image and the number of its person a line, for mmpretrain's
  CustomDataset, and unlabelled.txt: the images alone; everyone.txt: those of
  all people. How many people train.txt has, a head's num_classes, is printed;
- unseen.txt: the same for the last people by name, who are not in train.txt;
- pairs.txt: pairs of the unseen people's images, with 1 for the same person
  and 0 for two, separated by tabs. For each person in turn, all pairs of their
  images and the same number of random pairs with another person's image; with
  ten people these are the ten folds.
"""
import itertools
import random
from pathlib import Path
from typing import Dict, List

from sskd_mm_cli import ToolParser, run_tool

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.pgm')


def find_people(root: Path) -> Dict[str, List[str]]:
    """List each person's images, relative to the root."""
    people = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        images = [
            f'{folder.name}/{path.name}' for path in sorted(folder.iterdir())
            if path.suffix.lower() in EXTENSIONS
        ]
        if images:
            people[folder.name] = images
    return people


def make_pairs(people: Dict[str, List[str]]) -> List[str]:
    """Write lines of pairs, person by person."""
    rng = random.Random(0)
    lines = []
    for name, images in people.items():
        same = list(itertools.combinations(images, 2))
        others = [x for n, rest in people.items() if n != name for x in rest]
        different = list(itertools.product(images, others))
        different = rng.sample(different, min(len(same), len(different)))
        lines += [f'{a}\t{b}\t1' for a, b in same]
        lines += [f'{a}\t{b}\t0' for a, b in different]
    return lines


def number(people: Dict[str, List[str]]) -> List[str]:
    """Write lines of an image and the number of its person."""
    return [
        f'{image} {label}' for label, images in enumerate(people.values())
        for image in images
    ]


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('root', type=Path, help='has one folder per person')
    parser.add_argument(
        '--unseen', type=int, default=10, help='people to verify')
    parser.add_argument('--out', type=Path, help='default: the root')
    args = parser.parse_args()
    people = find_people(args.root)
    if not 2 <= args.unseen < len(people):
        parser.error(f'{args.root} has folders of {len(people)} people; '
                     f'--unseen {args.unseen} must be at least 2 and leave '
                     'some to train on.')
    names = list(people)
    seen = {name: people[name] for name in names[:-args.unseen]}
    unseen = {name: people[name] for name in names[-args.unseen:]}
    out = args.out or args.root
    out.mkdir(parents=True, exist_ok=True)
    images = itertools.chain.from_iterable(seen.values())
    for file, lines in (('train.txt', number(seen)),
                        ('unlabelled.txt', list(images)),
                        ('everyone.txt', [*itertools.chain(*people.values())]),
                        ('unseen.txt', number(unseen)),
                        ('pairs.txt', make_pairs(unseen))):
        (out / file).write_text(''.join(f'{line}\n' for line in lines))
        print(f'{out / file}: {len(lines)} lines')
    print(f'To train on the {len(seen)} people of train.txt: '
          f'model.head.num_classes={len(seen)}')


if __name__ == '__main__':
    run_tool(main)
