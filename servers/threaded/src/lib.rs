//! A blocking Varvel server: a bounded pool of threads, idle connections parked
