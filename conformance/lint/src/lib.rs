//! Middleware that checks an application and the server above it, clause by clause.
