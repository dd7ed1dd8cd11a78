//! Messages, and what a Close says.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use tungstenite::{
    Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, which is always UTF-8.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.0),
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// The text of a message: a `str` that is cheap to clone, so that one text can go to many clients.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(pub(super) Utf8Bytes);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What a Close says (RFC 6455 section 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// Why; [`Close::NO_STATUS`] if the client did not say.
    pub code: u16,
    /// Why, in words for people who look for mistakes; often empty.
    pub reason: Text,
}

impl Close {
    /// All was done.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the page was left.
    pub const GOING_AWAY: u16 = 1001;
    /// The other side violated the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A kind of data that is not taken.
    pub const UNSUPPORTED_DATA: u16 = 1003;
    /// The Close had no code. Never sent.
    pub const NO_STATUS: u16 = 1005;
    /// Data that is not what its type says, such as text that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// Against the rules of the application.
    pub const POLICY_VIOLATION: u16 = 1008;
    /// A message beyond the limit.
    pub const TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const INTERNAL_ERROR: u16 = 1011;

    /// # Panics
    /// If it must not be sent.
    #[track_caller]
    pub(super) fn to_send(code: u16, reason: &str) -> Self {
        assert!(CloseCode::from(code).is_allowed(), "{code} must not be sent as the code of a Close");
        assert!(reason.len() <= 123, "the reason of a Close has at most 123 bytes");
        Self { code, reason: reason.into() }
    }

    pub(super) fn received(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self { code: frame.code.into(), reason: Text(frame.reason) },
            None => Self { code: Self::NO_STATUS, reason: "".into() },
        }
    }

    pub(super) fn frame(&self) -> CloseFrame {
        CloseFrame { code: self.code.into(), reason: self.reason.0.clone() }
    }
}
