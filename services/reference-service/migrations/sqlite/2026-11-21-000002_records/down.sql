DROP TABLE records_words;
DROP TABLE record_tags;
DROP TABLE records;
