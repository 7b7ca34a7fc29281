-- Rankings of very large days are told from scores taken together, and say so.
ALTER TABLE IF EXISTS monitoring.model_performance ADD COLUMN IF NOT EXISTS exact BOOLEAN;
