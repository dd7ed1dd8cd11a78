//! The Varvel specification: its text, and its clauses as constants read from it
