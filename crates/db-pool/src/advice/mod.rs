//! Advice: what to change about the pool, the indexes and the queries, with the numbers that say so.
