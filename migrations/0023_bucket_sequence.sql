-- How far the KV bucket is known to be acknowledged: one that ends sooner was made anew, or restored from an older copy, and is
-- filled from the tables again.
ALTER TABLE relay ADD COLUMN bucket_sequence bigint NOT NULL DEFAULT 0;
