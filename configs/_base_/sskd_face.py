# Distills face networks, in as many epochs as training from scratch.
# studies/orl_faces.yaml measures it on a small data set; it has not been run
# on MS1MV3 or CASIA-WebFace yet.
#
# All stages and the embedding are mimicked together, then the embedding alone.
# The head phase trains only class centres, starting from the teacher's, so
# embeddings, and thus verification, result from mimicking alone.
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['auto', 'backbone.features'],
        inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule=['joint', 'last'],
        # For each of the two phases.
        mimic=dict(
            max_epochs=9,
            # The mean over all elements is a small loss: this compensates
            # for it and leaves the effective weight decay unchanged.
            optim_wrapper=dict(
                optimizer=dict(lr=1.0, weight_decay=1e-5, nesterov=True)),
            param_scheduler=[
                dict(
                    type='LinearLR',
                    start_factor=0.1,
                    by_epoch=False,
                    begin=0,
                    end=50),
                dict(
                    type='CosineAnnealingLR',
                    by_epoch=True,
                    convert_to_iter_based=True)
            ]),
        head=dict(
            max_epochs=2, optim_wrapper=dict(optimizer=dict(lr=0.01)))))
