"""The stages, one module each; `age_tasks.pipeline` holds their order and what each one depends on."""
