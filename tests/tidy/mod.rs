//! The house, checked from the files themselves.
