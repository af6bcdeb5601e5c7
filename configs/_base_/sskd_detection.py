# Distills detectors in 12 epochs, by the recipe that docs/benchmarks.md found
# best on small data sets. It has not been run on COCO yet. First the student's
# neck mimics the teacher's; then the head trains, and then the whole student.
warmup = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
cosine = dict(
    type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['neck'],
        mimic_loss=dict(type='L2MimicLoss', normalize=True)),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        mimic=dict(max_epochs=5, param_scheduler=[warmup, cosine]),
        # An inherited head needs little training: a third of the learning rate
        # for training from scratch.
        head=dict(
            max_epochs=1,
            param_scheduler=[dict(warmup, end_factor=0.35), cosine]),
        finetune=dict(
            max_epochs=6,
            param_scheduler=[dict(warmup, end_factor=0.7), cosine])))
