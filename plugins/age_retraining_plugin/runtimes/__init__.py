"""Where a stage runs: a process, a Docker container or a Kubernetes pod."""
