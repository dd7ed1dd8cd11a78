//! The server role of HTTP/1.1 without IO: bytes to heads and bodies, and back
