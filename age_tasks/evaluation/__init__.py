"""What the predictions are worth: metrics, intervals, comparison, label issues and the gate."""
