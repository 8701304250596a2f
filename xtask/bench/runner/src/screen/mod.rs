//! What a session measured, on one screen.
