-- Recall, and what follows from it, is an estimate for all frauds that are ever reported, and null until enough
-- chargebacks are in. recall_so_far was 1.0 on nearly every day, since what was alerted is known first.
ALTER TABLE IF EXISTS monitoring.early_performance DROP COLUMN IF EXISTS recall_so_far;
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS recall_lower_bound DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_performance ALTER COLUMN cost DROP NOT NULL;
ALTER TABLE IF EXISTS monitoring.scenario_performance ALTER COLUMN recall DROP NOT NULL;
ALTER TABLE IF EXISTS monitoring.model_comparison ADD COLUMN IF NOT EXISTS recall_low DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_comparison ADD COLUMN IF NOT EXISTS recall_high DOUBLE;
ALTER TABLE IF EXISTS monitoring.model_comparison ADD COLUMN IF NOT EXISTS recall_lower_bound DOUBLE;
