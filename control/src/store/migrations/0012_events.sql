ALTER TABLE deliveries RENAME COLUMN call TO subject;

ALTER TABLE deliveries ADD COLUMN body TEXT;
