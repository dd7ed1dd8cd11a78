//! The table of rules against the specification, and the README against the table.
