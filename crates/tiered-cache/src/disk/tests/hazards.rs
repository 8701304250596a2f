//! The hazards of foyer.
