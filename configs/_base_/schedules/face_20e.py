# The recipe of insightface's arcface_torch (configs/ms1mv2_r50.py,
# lr_scheduler.py, train_v2.py): SGD, learning rate 0.1 for batches of 512,
# falling linearly to 0 over 20 epochs, gradients clipped to a norm of 5.
max_epochs = 20
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=5))
param_scheduler = dict(
    type='PolyLR', power=1, by_epoch=True, convert_to_iter_based=True)
auto_scale_lr = dict(base_batch_size=512)
