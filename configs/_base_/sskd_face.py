# How pairs of networks for faces are distilled, in as many epochs as training
# from scratch takes. Nobody has run it on MS1MV3 or CASIA-WebFace yet.
#
# The last tap is the embedding, and class centres start from the teacher's.
# The head phase trains the centres alone: embeddings, and so verification,
# are what mimicking left.
sskd = dict(
    model=dict(
        type='StageByStageDistiller',
        stages=['auto', 'backbone.features'],
        # The embedding has another scale than the maps.
        mimic_loss=dict(type='L2MimicLoss', normalize=True),
        inherit=['head']),
    train_cfg=dict(
        type='StageByStageTrainLoop',
        schedule='joint',
        mimic=dict(max_epochs=19),
        head=dict(
            max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=0.01)))))
