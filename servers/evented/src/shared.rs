//! What the connections of a loop share.

use std::{sync::Arc, time::Instant};

use varvel::{AsyncApp, OnDisconnect, Reporter};
use varvel_http1::Spare;
use varvel_server_kit::{http_date::DateLine, journal::Journal};

use crate::{exchange::Exchange, turn::Turn};

/// What the connections of a loop share.
pub(crate) struct Shared<A: AsyncApp> {
    pub(crate) app: A,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) http: Arc<varvel_http1::Config>,
    pub(crate) date: DateLine,
    pub(crate) journal: Arc<Journal>,
    /// When the loop woke up.
    pub(crate) now: Instant,
    /// Empty between two reads.
    pub(crate) read_buffer: Vec<u8>,
    /// For what is read only to be thrown away, or by a tunnel.
    pub(crate) scratch: Box<[u8]>,
    /// The most that one read takes, in bytes.
    pub(crate) read_bytes_max: usize,
    /// What is left of the bytes that the connection which is driven may move in its turn.
    pub(crate) turn_bytes_left: usize,
    pub(crate) write_high_water: u64,
    /// What one request leaves to the next, with the header map of its answer.
    pub(crate) spare: Spare,
    #[expect(clippy::vec_box, reason = "connections hold boxes; it is those that are used again")]
    spare_exchanges: Vec<Box<Exchange<A::Future>>>,
    pub(crate) turn: Turn,
}

/// More at once brings little, however much may be read ahead.
const READ_BYTES_MAX: u64 = 128 * 1024;

/// How many finished exchanges a loop keeps for their memory.
const SPARE_EXCHANGES_MAX: usize = 64;

impl<A: AsyncApp> Shared<A> {
    pub(crate) fn new(
        app: A,
        policy: varvel::Policy,
        reporter: Arc<dyn Reporter>,
        http: Arc<varvel_http1::Config>,
        limits: &varvel::Limits,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            app,
            on_disconnect: policy.on_disconnect,
            reporter,
            http,
            date: DateLine::new(),
            journal,
            now: Instant::now(),
            read_buffer: Vec::new(),
            scratch: vec![0; 16 * 1024].into_boxed_slice(),
            read_bytes_max: limits.read_ahead.clamp(1, READ_BYTES_MAX) as usize,
            turn_bytes_left: 0,
            write_high_water: limits.write_high_water,
            spare: Spare::default(),
            spare_exchanges: Vec::new(),
            turn: Turn::new(policy.exclusive),
        }
    }

    /// An exchange to be filled.
    pub(crate) fn exchange(&mut self) -> Box<Exchange<A::Future>> {
        self.spare_exchanges.pop().unwrap_or_else(Exchange::new)
    }

    /// Keeps a finished exchange for the next one.
    pub(crate) fn recycle(&mut self, mut exchange: Box<Exchange<A::Future>>) {
        if self.spare_exchanges.len() < SPARE_EXCHANGES_MAX {
            exchange.reset();
            self.spare_exchanges.push(exchange);
        }
    }
}
