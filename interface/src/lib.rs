//! The contract between HTTP servers and applications, sync and async
