//! What every Varvel server needs and no application sees

pub mod http_date;
pub mod outbox;
pub mod transport;

#[cfg(test)]
mod testing;
