-- Payments whose source says which of them nobody has judged. Of what was stored before, no label means legitimate.
ALTER TABLE IF EXISTS raw.transactions ADD COLUMN IF NOT EXISTS judged_only BOOLEAN;
