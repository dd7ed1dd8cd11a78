//! Media handlers: how values become content, and content values, by its media type.
//!
//! | media type | handler |
//! |---|---|
//! | `application/json`, and any with the suffix `+json` | serde_json |
//! | `application/x-www-form-urlencoded` | the toolkit's forms; for requests only |
//! | `application/msgpack`, `application/x-msgpack` | rmp-serde, with the feature `msgpack` |
//! | your own, and any of these in another way | [`Handlers::insert`] |
//!
//! Nothing is converted unless a responder says `media`. On an event loop a sync responder gets its thread when content that
//! has a handler is there, up to [the limit](crate::App::set_media_bytes_max), so that clients who send slowly keep no
//! thread from others; all other content is read as the responder asks for it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use erased_serde::{Deserializer, Serialize as ErasedSerialize};
use serde::{Serialize, de::DeserializeOwned};
use varvel::BoxError;
use varvel_toolkit::{
    HttpError, MediaType, json,
    urlencoded::{Limits, UrlEncoded},
};

use crate::{Result, errors};

/// Gets at the value that a [`MediaHandler`] has made a deserializer for.
pub type Read<'r> = dyn FnMut(&mut dyn Deserializer<'_>) -> std::result::Result<(), BoxError> + 'r;

/// A handler of your own, for a media type that has none or in place of one that has.
///
/// ```
/// use erased_serde::{Deserializer, Serialize};
/// use varvel::BoxError;
/// use varvel_resource::media::{MediaHandler, Read};
///
/// /// JSON that humans read.
/// struct Pretty;
///
/// impl MediaHandler for Pretty {
///     fn serialize(&self, value: &dyn Serialize) -> Result<Vec<u8>, BoxError> {
///         Ok(serde_json::to_vec_pretty(value)?)
///     }
///
///     fn deserialize(&self, content: &[u8], read: &mut Read<'_>) -> Result<(), BoxError> {
///         let mut json = serde_json::Deserializer::from_slice(content);
///         read(&mut <dyn Deserializer<'_>>::erase(&mut json))
///     }
/// }
///
/// let mut app = varvel_resource::App::new();
/// app.media_handlers().insert("application/json", Pretty);
/// ```
pub trait MediaHandler: Send + Sync + 'static {
    /// Makes content of a value.
    ///
    /// # Errors
    /// If it has no such form; a mistake of the application, and answered with 500.
    fn serialize(&self, value: &dyn ErasedSerialize) -> std::result::Result<Vec<u8>, BoxError>;

    /// Makes a deserializer of content and hands it to `read`.
    ///
    /// # Errors
    /// If the content is malformed, or is none of the values asked for; 400.
    fn deserialize(&self, content: &[u8], read: &mut Read<'_>) -> std::result::Result<(), BoxError>;
}

/// Which handler there is for which media type.
#[derive(Clone)]
pub struct Handlers(Vec<(Box<str>, Handler)>);

#[derive(Clone)]
enum Handler {
    Json,
    UrlEncoded,
    #[cfg(feature = "msgpack")]
    MessagePack,
    Own(Arc<dyn MediaHandler>),
}

impl Default for Handlers {
    fn default() -> Self {
        Self(vec![
            ("application/json".into(), Handler::Json),
            ("application/x-www-form-urlencoded".into(), Handler::UrlEncoded),
            #[cfg(feature = "msgpack")]
            ("application/msgpack".into(), Handler::MessagePack),
            #[cfg(feature = "msgpack")]
            ("application/x-msgpack".into(), Handler::MessagePack),
        ])
    }
}

impl Handlers {
    /// Has this handler take a media type, in place of the one that did.
    pub fn insert(&mut self, media_type: &str, handler: impl MediaHandler) {
        self.remove(media_type);
        self.0.push((media_type.into(), Handler::Own(Arc::new(handler))));
    }

    /// Has nobody take a media type: to ask for media of it is 415 from now on.
    pub fn remove(&mut self, media_type: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(media_type));
    }

    /// The media types that values can become.
    pub(crate) fn of_values(&self) -> impl Iterator<Item = &str> {
        let of_values = self.0.iter().filter(|(_, handler)| !matches!(handler, Handler::UrlEncoded));
        of_values.map(|(media_type, _)| &**media_type)
    }

    pub(crate) fn has(&self, media_type: &str) -> bool {
        self.find(media_type).is_some()
    }

    fn find(&self, text: &str) -> Option<&Handler> {
        let exactly = |text: &str| self.0.iter().find(|(known, _)| **known == *text);
        // The usual case is that nothing needs to be parsed.
        let found = exactly(text).or_else(|| {
            let media_type = MediaType::parse(text)?;
            let named = self.0.iter().find(|(known, _)| media_type.is(known));
            named.or_else(|| exactly("application/json").filter(|_| media_type.is_json()))
        });
        found.map(|(_, handler)| handler)
    }

    pub(crate) fn serialize(&self, media_type: &str, value: &impl Serialize) -> Result<Vec<u8>> {
        match self.find(media_type) {
            Some(Handler::Json) => Ok(serde_json::to_vec(value)?),
            #[cfg(feature = "msgpack")]
            Some(Handler::MessagePack) => Ok(rmp_serde::to_vec_named(value)?),
            Some(Handler::Own(handler)) => handler.serialize(value).map_err(varvel::AppError::internal),
            Some(Handler::UrlEncoded) | None => {
                Err(varvel::AppError::internal(format!("no handler makes {media_type} of a value")))
            }
        }
    }

    pub(crate) fn deserialize<T: DeserializeOwned>(
        &self,
        media_type: &str,
        content: &Bytes,
    ) -> std::result::Result<T, HttpError> {
        let Some(handler) = self.find(media_type) else {
            return Err(errors::unsupported_media_type(format!("There is no handler for {media_type}.")));
        };
        if content.is_empty() && !matches!(handler, Handler::UrlEncoded) {
            return Err(errors::media_not_found(media_type));
        }
        let malformed = |error: &dyn fmt::Display| errors::media_malformed(media_type, error);
        match handler {
            Handler::Json => json::from_slice(content),
            Handler::UrlEncoded => {
                let limits = Limits { bytes: usize::MAX, ..Limits::default() };
                UrlEncoded::new(content.clone(), &limits)?.typed()
            }
            #[cfg(feature = "msgpack")]
            Handler::MessagePack => from_message_pack(content).map_err(|error| match error {
                rmp_serde::decode::Error::TypeMismatch(_)
                | rmp_serde::decode::Error::OutOfRange
                | rmp_serde::decode::Error::LengthMismatch(_)
                | rmp_serde::decode::Error::Syntax(_) => errors::media_validation(error),
                error => malformed(&error),
            }),
            Handler::Own(handler) => {
                let mut value = None;
                let mut read = |deserializer: &mut dyn Deserializer<'_>| {
                    value = Some(erased_serde::deserialize(deserializer)?);
                    Ok(())
                };
                handler.deserialize(content, &mut read).map_err(|error| malformed(&error))?;
                value.ok_or_else(|| malformed(&"nothing was read"))
            }
        }
    }
}

/// One value and nothing else, no deeper than JSON may be: the depth that rmp-serde allows by itself is too much for the stack
/// of a thread.
#[cfg(feature = "msgpack")]
fn from_message_pack<T: DeserializeOwned>(
    content: &[u8],
) -> std::result::Result<T, rmp_serde::decode::Error> {
    let mut content = std::io::Cursor::new(content);
    let mut deserializer = rmp_serde::Deserializer::new(&mut content);
    deserializer.set_max_depth(128);
    let value = T::deserialize(&mut deserializer)?;
    if content.position() < content.get_ref().len() as u64 {
        return Err(rmp_serde::decode::Error::Uncategorized("there is more behind the value".to_owned()));
    }
    Ok(value)
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(media_type, _)| media_type)).finish()
    }
}
