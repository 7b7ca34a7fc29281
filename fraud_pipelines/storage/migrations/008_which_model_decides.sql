-- Which model decides a day, and what the version that scores it had learned from.
ALTER TABLE IF EXISTS monitoring.model_promotions ADD COLUMN IF NOT EXISTS deciding_model VARCHAR;
ALTER TABLE IF EXISTS monitoring.model_promotions ADD COLUMN IF NOT EXISTS trained_features VARCHAR;
ALTER TABLE IF EXISTS monitoring.model_promotions ADD COLUMN IF NOT EXISTS trained_frauds BIGINT;
