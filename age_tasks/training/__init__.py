"""The network, the frozen-prefix feature cache, training and inference. Needs Keras; knows no runs."""
