//! Replicas: one primary and its followers, watched, balanced and failed over.
