//! What threads share their state by: that of `std`. `servers/models` compiles the modules that use this with another
//! meaning of it, which plays through all orders in which threads can meet.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
