# CIFAR-10 in data/cifar10/cifar-10-batches-py/, as torchvision has it; crops
# and flips are made of whole batches by the data preprocessor.
dataset_type = 'CIFARInMemory'
data_root = 'data/cifar10/'
data_preprocessor = dict(
    type='CropFlipDataPreprocessor',
    num_classes=10,
    # ImageNet's, with which the public weights of CIFAR ResNets were trained.
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=False)  # the images are in RGB
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
