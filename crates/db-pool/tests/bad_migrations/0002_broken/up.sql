ALTER TABLE nothing_like_this ADD COLUMN x INTEGER;
