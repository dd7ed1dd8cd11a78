//! Calls Varvel applications in tests.
