//! Loaders: many single loads by key become one query.
