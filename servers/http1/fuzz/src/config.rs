//! Bounds to fuzz with: the defaults, or such that a short input goes beyond them.

use varvel_http1::{Config, Limits};

/// The default limits, where each bit of `tightened` makes some of them tight.
pub(crate) fn config(tightened: u8) -> Config {
    let mut limits = Limits::default();
    let tight = |bit: u8| tightened & 1 << bit != 0;
    if tight(0) {
        limits.request_line_bytes_max = 32;
    }
    if tight(1) {
        limits.head_bytes_max = 100;
    }
    if tight(2) {
        limits.header_count_max = 3;
    }
    if tight(3) {
        limits.leading_blank_lines_max = 0;
    }
    if tight(4) {
        limits.body_bytes_max = Some(20);
    }
    if tight(5) {
        limits.chunk_line_bytes_max = 12;
        limits.chunk_overhead_bytes_max = 20;
    }
    if tight(6) {
        limits.trailer_bytes_max = 24;
        limits.trailer_count_max = 2;
    }
    if tight(7) {
        limits.discard_bytes_max = 16;
    }
    Config { limits, ..Config::default() }
}
