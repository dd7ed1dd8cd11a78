//! The length and the SHA-256 of a body, taken while it passes by: no more than a frame of it is in memory.

use std::fmt::Write;

use sha2::{Digest as _, Sha256};
use varvel::{AsyncBody, BodyError, Frame};

/// What is told of a body instead of the body.
pub(crate) struct Digest {
    /// How many bytes of data it had.
    pub(crate) len: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// Reads a body to its end.
pub(crate) async fn digest(mut body: AsyncBody) -> Result<Digest, BodyError> {
    let mut len = 0;
    let mut hasher = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Frame::Data(data) = frame? {
            len += data.len() as u64;
            hasher.update(&data);
        }
    }
    let mut sha256 = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(sha256, "{byte:02x}"); // A String takes everything.
    }
    Ok(Digest { len, sha256 })
}
