# CIFAR-10 in data/cifar10/cifar-10-batches-py/, as in torchvision; the data
# preprocessor crops and flips whole batches.
dataset_type = 'CIFARInMemory'
data_root = 'data/cifar10/'
data_preprocessor = dict(
    type='CropFlipDataPreprocessor',
    num_classes=10,
    # ImageNet's, used to train the public weights of CIFAR ResNets.
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=False)  # images are already RGB
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, split='train'))
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='test', test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
