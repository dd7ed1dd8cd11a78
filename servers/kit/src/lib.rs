//! What every Varvel server needs and no application sees

mod bind_address;
pub mod http_date;
mod inherited_fd;
pub mod listener;
pub mod outbox;
pub mod timer_queue;
pub mod transport;
pub mod worker_pool;

#[cfg(test)]
mod testing;
