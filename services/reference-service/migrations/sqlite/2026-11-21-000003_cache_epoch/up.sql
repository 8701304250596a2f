-- One row. A writer that bypasses the running service raises the epoch; caches filled under an
-- earlier one are then ignored.
CREATE TABLE cache_epoch (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL CHECK (epoch > 0)
) STRICT;

INSERT INTO cache_epoch (id, epoch) VALUES (1, 1);
