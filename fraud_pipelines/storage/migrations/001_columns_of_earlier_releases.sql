-- Columns that tables got after they were first made, before the schema had a version.
ALTER TABLE IF EXISTS feedback.labels ADD COLUMN IF NOT EXISTS reviewer VARCHAR;
ALTER TABLE IF EXISTS feedback.labels ADD COLUMN IF NOT EXISTS comment VARCHAR;
ALTER TABLE IF EXISTS feedback.labels ADD COLUMN IF NOT EXISTS scenario VARCHAR;
ALTER TABLE IF EXISTS feedback.superseded_labels ADD COLUMN IF NOT EXISTS scenario VARCHAR;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS alerts_per_day DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS alerts_labelled BIGINT;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS label_coverage DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS f1_low DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS f1_high DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS value_detection_rate_low DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS value_detection_rate_high DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS cost_low DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS cost_high DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS chargebacks_reported DOUBLE;
ALTER TABLE IF EXISTS monitoring.decision_thresholds ADD COLUMN IF NOT EXISTS origin VARCHAR;
ALTER TABLE IF EXISTS monitoring.decision_thresholds ADD COLUMN IF NOT EXISTS decided_by VARCHAR;
ALTER TABLE IF EXISTS monitoring.decision_thresholds ADD COLUMN IF NOT EXISTS reason VARCHAR;
