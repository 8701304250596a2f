DROP TABLE record_tags;
DROP TABLE records;
DROP FUNCTION records_derive_tags;
DROP FUNCTION searchable;
