"""Detectors: fitted with scikit-learn and PyOD, then frozen into plain arrays that score, travel and hash alike."""
