# Distills detectors in 12 epochs, by the recipe that docs/benchmarks.md found
# best on small data sets. It has not been run on COCO yet. First the student's
# neck mimics the teacher's; then the inherited head trains; then the whole
# student, gently: it has most of what it needs. For a head that starts from
# random weights see sskd_detection_new_head.py.
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
        mimic=dict(max_epochs=8, param_scheduler=[warmup, cosine]),
        # A third of the learning rate for training from scratch.
        head=dict(
            max_epochs=1,
            param_scheduler=[dict(warmup, end_factor=0.35), cosine]),
        finetune=dict(
            max_epochs=3,
            param_scheduler=[dict(warmup, end_factor=0.35), cosine])))
