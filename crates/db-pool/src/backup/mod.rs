//! Backup and recovery: copies that are verified, kept for a while, and can be restored.
