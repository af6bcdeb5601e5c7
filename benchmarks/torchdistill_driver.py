# Copyright (c) sskd_mm authors. All rights reserved.
"""Sequential mimicking by torchdistill, the process that
speed/against_torchdistill.py runs.

python benchmarks/torchdistill_driver.py DATA_ROOT IMAGES EPOCHS OUT TAP ...

Each tap is one stage of a DistillationBox. Teacher and student are truncated
after it (``sequential``) and the earlier stages are frozen, as in
torchdistill's own multi-stage configs.
"""
import argparse
import pickle
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import RandomSampler
from torchdistill.core.distillation import get_distillation_box
from torchdistill.models.classification.resnet import resnet20, resnet56
from torchvision import datasets, transforms

BATCH_SIZE = 128
PARTS = ['conv1', 'bn1', 'relu', 'layer1', 'layer2', 'layer3']
NORM = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class CIFAR10(datasets.CIFAR10):
    """Torchvision's CIFAR10 without the MD5 check."""

    def __init__(self, root: Path, images: int, transform) -> None:
        batches = [
            pickle.loads((root / f'data_batch_{i}').read_bytes())
            for i in range(1, 6)
        ]
        data = np.concatenate([batch['data'] for batch in batches])[:images]
        self.data = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.targets = sum((batch['labels'] for batch in batches), [])
        self.transform, self.target_transform = transform, None


def stage(tap: str, previous: str, epochs: int) -> dict:
    """Build the config of a stage."""
    parts = PARTS[:PARTS.index(tap) + 1]
    frozen = PARTS[:PARTS.index(previous) + 1] if previous else []
    frozen = [part for part in frozen if part != 'relu']
    hook = dict(input=[], output=[tap])
    return dict(
        num_epochs=epochs,
        train_data_loader=dict(
            key='DataLoader',
            dataset_id='train',
            sampler=dict(class_or_func=RandomSampler),
            kwargs=dict(batch_size=BATCH_SIZE, num_workers=2)),
        teacher=dict(
            forward_proc='forward_batch_only',
            sequential=parts,
            forward_hook=hook,
            requires_grad=False),
        student=dict(
            forward_proc='forward_batch_only',
            sequential=parts,
            forward_hook=hook,
            frozen_modules=frozen),
        optimizer=dict(
            key='SGD', kwargs=dict(lr=0.1, momentum=0.9, weight_decay=1e-4)),
        criterion=dict(
            key='WeightedSumLoss',
            kwargs=dict(
                sub_terms=dict(
                    mimic=dict(
                        criterion=dict(key='MSELoss', kwargs=dict()),
                        criterion_wrapper=dict(
                            key='SimpleLossWrapper',
                            kwargs=dict(
                                input=dict(
                                    is_from_teacher=False,
                                    module_path=tap,
                                    io='output'),
                                target=dict(
                                    is_from_teacher=True,
                                    module_path=tap,
                                    io='output'))),
                        weight=1.0)))))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', type=Path)
    parser.add_argument('images', type=int)
    parser.add_argument('epochs', type=int, help='epochs per stage')
    parser.add_argument('out')
    parser.add_argument('taps', nargs='+', choices=PARTS)
    args = parser.parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.manual_seed(0)
    teacher, student = resnet56().to(device), resnet20().to(device)
    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(*NORM)
    ])
    data = CIFAR10(args.data_root / 'cifar-10-batches-py', args.images,
                   transform)
    config = {
        f'stage{i + 1}': stage(tap, args.taps[i - 1] if i else '', args.epochs)
        for i, tap in enumerate(args.taps)
    }
    if len(config) == 1:
        config = config['stage1']
    box = get_distillation_box(teacher, student, dict(train=data), config,
                               device, [device], False, 1)
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for images, targets, supplements in box.train_data_loader:
            loss = box.forward_process(
                images.to(device, non_blocking=True),
                targets.to(device, non_blocking=True), supplements)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()
    torch.save(student.state_dict(), args.out)


if __name__ == '__main__':
    main()
