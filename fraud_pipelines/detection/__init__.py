"""Detection: feature encoding, detector backends, score calibration and explanations."""
