-- The version of the declarations by which a decision's features were computed.
ALTER TABLE IF EXISTS scoring.decisions ADD COLUMN IF NOT EXISTS plan_version VARCHAR;
ALTER TABLE IF EXISTS scoring.decision_revisions ADD COLUMN IF NOT EXISTS plan_version VARCHAR;
