-- What drift is judged by, beside the stability index.
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS "rows" BIGINT;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS reference_rows BIGINT;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS weekday_psi DOUBLE;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS compared_with VARCHAR;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS psi_expected DOUBLE;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS p_value DOUBLE;
ALTER TABLE IF EXISTS monitoring.feature_drift ADD COLUMN IF NOT EXISTS drifted BOOLEAN;
