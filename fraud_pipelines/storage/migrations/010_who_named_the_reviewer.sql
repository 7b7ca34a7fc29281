-- Where the name of a verdict's reviewer comes from. Of earlier verdicts it isn't known.
ALTER TABLE IF EXISTS feedback.labels ADD COLUMN IF NOT EXISTS reviewer_named_by VARCHAR;
ALTER TABLE IF EXISTS feedback.superseded_labels ADD COLUMN IF NOT EXISTS reviewer_named_by VARCHAR;
