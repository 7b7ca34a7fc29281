-- Refunds, rows that a mapping leaves out, and the time of day where the payment was made. All that was stored before is
-- a payment whose time is known in UTC.
ALTER TABLE IF EXISTS raw.transactions ADD COLUMN IF NOT EXISTS kind VARCHAR DEFAULT 'payment';
ALTER TABLE IF EXISTS raw.transactions ADD COLUMN IF NOT EXISTS local_time TIMESTAMP;
ALTER TABLE IF EXISTS raw.transactions ADD COLUMN IF NOT EXISTS date_only BOOLEAN;
ALTER TABLE IF EXISTS raw.landed_files ADD COLUMN IF NOT EXISTS rows_left_out BIGINT DEFAULT 0;
ALTER TABLE IF EXISTS streaming.processed_batches ADD COLUMN IF NOT EXISTS refunds BIGINT DEFAULT 0;
ALTER TABLE IF EXISTS streaming.processed_batches ADD COLUMN IF NOT EXISTS left_out BIGINT DEFAULT 0;
