"""The networks, the frozen-prefix feature cache, and one training."""
