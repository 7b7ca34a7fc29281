-- A day that is run again with the same versions and the same rows takes over what it decided, and computes nothing.
ALTER TABLE IF EXISTS monitoring.model_promotions ADD COLUMN IF NOT EXISTS inputs VARCHAR;
