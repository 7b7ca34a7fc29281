-- A hash chain for each channel, day and shard of the decision log, under seals that are chained themselves.
ALTER TABLE IF EXISTS scoring.decision_revisions ADD COLUMN IF NOT EXISTS shard INTEGER;
ALTER TABLE IF EXISTS scoring.decision_chain ADD COLUMN IF NOT EXISTS previous_root VARCHAR;
ALTER TABLE IF EXISTS scoring.decision_chain ADD COLUMN IF NOT EXISTS heads VARCHAR[];
