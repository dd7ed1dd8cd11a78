//! Subjects that are right.
