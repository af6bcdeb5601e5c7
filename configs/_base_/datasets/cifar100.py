# CIFAR-100 in data/cifar100/cifar-100-python/, as torchvision has it; crops
# and flips are made of whole batches by the data preprocessor.
dataset_type = 'CIFARInMemory'
data_root = 'data/cifar100/'
layout = 'cifar100'
data_preprocessor = dict(
    type='CropFlipDataPreprocessor',
    num_classes=100,
    # (0.5071, 0.4867, 0.4408) and (0.2675, 0.2565, 0.2761) of 255.
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
    to_rgb=False)  # the images are in RGB
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type=dataset_type, layout=layout, data_root=data_root, split='train'))
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type=dataset_type,
        layout=layout,
        data_root=data_root,
        split='test',
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
