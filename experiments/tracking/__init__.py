"""What is known of a run afterwards: MLflow, tags, data, machine, versions, costs."""
