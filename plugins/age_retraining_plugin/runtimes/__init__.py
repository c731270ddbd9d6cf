"""Where a stage runs: in a process, a Docker container or a Kubernetes pod; `outcome` says what its exit code means."""
