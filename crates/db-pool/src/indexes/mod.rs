//! Declared indexes: checked when the service starts, created on request, asserted in tests.
