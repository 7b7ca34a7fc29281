"""The Dagster shell: assets, checks, partitions, jobs, schedules, sensors and resources; no arithmetic."""
