"""Published versions, the promotion log, approvals, and their mirror in MLflow."""
