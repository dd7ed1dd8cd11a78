//! Checks any Varvel server, clause by clause, over real sockets
