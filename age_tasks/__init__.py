"""Age retraining: the stages that take labelled faces to a published, evaluated age model."""
