//! Compression of answers by what the client accepts.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use varvel::{Body, BodyError, Scope};

use super::{cache_control::has_directive, vary::vary_by};
use crate::{Form, MediaType, Middleware, Transform, accept};

/// Compresses answers with zstd, brotli or gzip, as the client likes it best; between equals in this order.
///
/// Not touched is what
/// - is short: below [`min_bytes`](Self::min_bytes), where the length is known,
/// - is not of a kind that shrinks: text, JSON, XML, JavaScript, WebAssembly, SVG and what is built upon them,
/// - is encoded already, is a part (206, Content-Range), has a digest, or `Cache-Control: no-transform`.
///
/// What streams is compressed as it comes, and nothing is held back: wherever the application flushes or waits, the client
/// can read everything up to there, so event streams stay live. A strong ETag becomes a weak one, since it would stand for
/// other bytes, also in the 304 by which it is asked for later; and Accept-Ranges goes.
///
/// The work is done on the thread that runs the application, event loops included. Do not compress answers that contain both
/// a secret and something that the one who asks has chosen: their length tells of the secret (BREACH).
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::Compression, respond};
///
/// let app = Compression::new().around(sync_fn(|_, _| Ok(respond::text("la ".repeat(1000)))));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/").header("accept-encoding", "gzip, br;q=0.5").send();
/// # assert_eq!(response.header("content-encoding"), Some("gzip"));
/// # assert!(response.body().len() < 100);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Compression {
    min_bytes: u64,
}

impl Compression {
    /// Of what has a kilobyte or more.
    pub fn new() -> Self {
        Self { min_bytes: 1024 }
    }

    /// From which length on it is worth while. Default: 1024 bytes.
    #[must_use]
    pub fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }

    fn is_worthwhile<F: Form>(&self, response: &Response<Body<F::Out>>) -> bool {
        let headers = response.headers();
        // Ahead of the body's own: that may be empty in an answer to HEAD, which is to look like one to GET (spec M4).
        let declared =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let len = declared.or_else(|| F::response_len(response.body()));
        len.is_none_or(|len: u64| len >= self.min_bytes && len > 0)
            && response.status() != StatusCode::PARTIAL_CONTENT
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
            && may_be_encoded(headers)
            && shrinks(headers).unwrap_or(false)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for Compression {
    /// What the client likes best.
    type Note = Option<Coding>;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        _scope: &mut Scope,
    ) -> Result<Self::Note, Response<Body<F::Out>>> {
        let best = accept::encoding(request.headers(), &["zstd", "br", "gzip", "identity"]);
        Ok(match best {
            Some("zstd") => Some(Coding::Zstd),
            Some("br") => Some(Coding::Brotli),
            Some("gzip") => Some(Coding::Gzip),
            _ => None,
        })
    }

    fn response<F: Form>(
        &self,
        coding: Self::Note,
        mut response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        if response.status() == StatusCode::NOT_MODIFIED {
            name_as_sent(response.headers_mut(), coding.is_some());
            return response;
        }
        if !self.is_worthwhile::<F>(&response) {
            return response;
        }
        let headers = response.headers_mut();
        vary_by(headers, &header::ACCEPT_ENCODING);
        let Some((coding, encoder)) = coding.and_then(|coding| Some((coding, Encoder::new(coding).ok()?)))
        else {
            return response;
        };
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        response.map(|body| F::transform_response(body, Encoding(encoder)))
    }
}

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// A 304 has the ETag and the Vary of the answer that it stands for (RFC 9110 section 15.4.5), which is compressed as far as
/// can be told from here; a weak ETag that was strong there is recognised all the same (RFC 9111 section 4.3.4).
fn name_as_sent(headers: &mut HeaderMap, is_encoded: bool) {
    if !may_be_encoded(headers) || shrinks(headers) == Some(false) {
        return;
    }
    vary_by(headers, &header::ACCEPT_ENCODING);
    if is_encoded {
        weaken(headers);
    }
}

fn may_be_encoded(headers: &HeaderMap) -> bool {
    // Digests are of the very bytes (RFC 9530).
    let fixed =
        ["content-range", "content-encoding", "content-digest", "repr-digest", "digest", "content-md5"];
    !fixed.iter().any(|name| headers.contains_key(*name)) && !has_directive(headers, "no-transform")
}

/// Whether its media type is one of those that are mostly redundancy, if it has one.
fn shrinks(headers: &HeaderMap) -> Option<bool> {
    let media_type = MediaType::parse(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)?;
    let subtype = media_type.subtype().to_ascii_lowercase();
    let shrinks = media_type.kind().eq_ignore_ascii_case("text")
        || ["+json", "+xml", "+text", "+yaml"].iter().any(|suffix| subtype.ends_with(suffix))
        || matches!(
            &*subtype,
            "json"
                | "xml"
                | "javascript"
                | "x-javascript"
                | "ecmascript"
                | "wasm"
                | "x-ndjson"
                | "jsonl"
                | "yaml"
                | "x-yaml"
                | "toml"
                | "graphql"
                | "rtf"
                | "vnd.ms-fontobject"
                | "x-www-form-urlencoded"
        )
        || (media_type.kind().eq_ignore_ascii_case("font") && matches!(&*subtype, "ttf" | "otf"))
        || (media_type.kind().eq_ignore_ascii_case("image") && matches!(&*subtype, "bmp" | "x-icon"));
    Some(shrinks)
}

/// What stood for these very bytes now stands for the same in other bytes (RFC 9110 section 8.8.3).
fn weaken(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(header::ETAG) else { return };
    if etag.as_bytes().starts_with(b"W/") {
        return;
    }
    match HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}

/// A compressor, which writes into memory of its own.
enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// With the levels at which a byte more takes much longer, and windows that many can have at a time.
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(18)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, 4, 18))),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Level::default())),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    /// Takes what has come out so far.
    fn take(&mut self) -> Bytes {
        std::mem::take(match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        })
        .into()
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.do_finish(),
            // It has no other way to finish than by value; what it leaves behind compresses nothing.
            Self::Brotli(encoder) => {
                let ended = std::mem::replace(&mut **encoder, CompressorWriter::new(Vec::new(), 1, 0, 10));
                *encoder.get_mut() = ended.into_inner();
                Ok(())
            }
            Self::Gzip(encoder) => encoder.try_finish(),
        }
    }
}

struct Encoding(Encoder);

impl Transform for Encoding {
    fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.0.writer().write_all(&data).map_err(BodyError::failed)?;
        Ok(self.0.take())
    }

    fn flush(&mut self) -> Result<Bytes, BodyError> {
        self.0.writer().flush().map_err(BodyError::failed)?;
        Ok(self.0.take())
    }

    fn end(&mut self) -> Result<Bytes, BodyError> {
        self.0.finish().map_err(BodyError::failed)?;
        Ok(self.0.take())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use varvel::{AsyncBody, ReadBody, WriteBody, app_fn, sync_fn};
    use varvel_test::{Client, Response as Answer};

    use super::*;

    const TEXT: &str = "the quick brown fox jumps over the lazy dog; ";

    fn decoded(response: &Answer) -> String {
        let mut text = String::new();
        let body = &response.body()[..];
        match response.header("content-encoding") {
            Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap(),
            Some("br") => brotli::Decompressor::new(body, 4096).read_to_string(&mut text).unwrap(),
            Some("zstd") => {
                zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text).unwrap()
            }
            Some(other) => panic!("an unknown coding: {other}"),
            None => body.take(u64::MAX).read_to_string(&mut text).unwrap(),
        };
        text
    }

    /// Answers with text, with the fields that stand in the query.
    fn head<B>(query: Option<&str>, body: B) -> Response<B> {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for (name, value) in
            query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='))
        {
            if name == "status" {
                *response.status_mut() = value.parse().unwrap();
            } else {
                let name = http::HeaderName::try_from(name).unwrap();
                response.headers_mut().insert(
                    name,
                    HeaderValue::from_str(&value.replace('+', " ").replace("%22", "\"")).unwrap(),
                );
            }
        }
        response
    }

    fn in_each_form(text: &'static str, check: impl Fn(&Client)) {
        check(&Client::sync(Compression::new().around(sync_fn(move |request: Request<ReadBody>, _| {
            Ok(head(request.uri().query(), WriteBody::from(text)))
        }))));
        check(&Client::sync(Compression::new().around(sync_fn(move |request: Request<ReadBody>, _| {
            let write = move |sink: &mut dyn varvel::FrameSink| {
                text.as_bytes().chunks(1000).try_for_each(|piece| sink.data(Bytes::from_static(piece)))
            };
            Ok(head(request.uri().query(), WriteBody::from_sized_writer(text.len() as u64, write)))
        }))));
        check(&Client::new(Compression::new().around(app_fn(
            move |request: Request<AsyncBody>, _| async move {
                Ok(head(request.uri().query(), AsyncBody::from(text)))
            },
        ))));
    }

    fn long() -> &'static str {
        TEXT.repeat(100).leak()
    }

    #[test]
    fn each_coding_gives_back_what_was_put_in_by_the_clients_order() {
        let text = long();
        in_each_form(text, |client| {
            for (accepted, coding) in [
                ("gzip", Some("gzip")),
                ("br", Some("br")),
                ("zstd", Some("zstd")),
                ("gzip, deflate, br, zstd", Some("zstd")),
                ("gzip, deflate, br", Some("br")),
                ("br;q=0.5, gzip", Some("gzip")),
                ("zstd;q=0, *", Some("br")),
                ("deflate", None),
                ("identity, gzip;q=0.1", None),
                ("gzip;q=0", None),
                ("", None),
            ] {
                let mut request = client.get("/");
                if !accepted.is_empty() {
                    request = request.header("accept-encoding", accepted);
                }
                let response = request.send();
                assert_eq!(response.header("content-encoding"), coding, "{accepted}");
                assert_eq!(decoded(&response), text, "{accepted}");
                assert_eq!(response.header("vary"), Some("accept-encoding"), "{accepted}");
                assert!(coding.is_none() || response.body().len() < text.len() / 10);
            }
        });
    }

    #[test]
    fn what_must_not_or_need_not_be_compressed_stays_as_it_is() {
        let text = long();
        in_each_form(text, |client| {
            for query in [
                "content-encoding=gzip",
                "content-type=image/png",
                "content-type=application/octet-stream",
                "cache-control=private,+No-Transform",
                "status=206&content-range=bytes+0-4499/9000",
                "content-digest=sha-256=:AAAA:",
                "repr-digest=sha-256=:AAAA:",
                "digest=sha-256=AAAA",
                "content-md5=AAAA",
            ] {
                let request = client.get(&format!("/?{query}")).header("accept-encoding", "br");
                let response = request.send();
                assert_eq!(response.body(), text, "{query}");
                assert_eq!(response.header("vary"), None, "{query}");
            }
        });
        in_each_form("short", |client| {
            let response = client.get("/").header("accept-encoding", "br").send();
            assert_eq!((response.header("content-encoding"), response.text()), (None, "short"));
        });
    }

    #[test]
    fn fields_that_stood_for_the_bytes_follow() {
        in_each_form(long(), |client| {
            let get =
                |query: &str| client.get(&format!("/?{query}")).header("accept-encoding", "gzip").send();
            assert_eq!(get("etag=%221%22").header("etag"), Some("W/\"1\""));
            assert_eq!(get("etag=W/%221%22").header("etag"), Some("W/\"1\""));
            assert_eq!(get("accept-ranges=bytes").header("accept-ranges"), None);
            let declared = get("content-length=4500");
            assert!(declared.body().len() < 1000);
            let head = client.head("/?content-length=4500").header("accept-encoding", "gzip").send();
            assert_eq!(head.header("content-encoding"), Some("gzip"));
        });
    }

    #[test]
    fn what_has_not_changed_is_named_as_it_was_when_it_was_sent() {
        // RFC 9110 section 15.4.5: a cache that keeps it compressed knows it by the weak ETag.
        in_each_form("", |client| {
            let get = |coding: &str, query: &str| {
                client.get(&format!("/?status=304&{query}")).header("accept-encoding", coding).send()
            };
            let answer = get("gzip", "etag=%221%22");
            assert_eq!(answer.header("etag"), Some("W/\"1\""));
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_eq!(answer.header("content-encoding"), None);
            let answer = get("identity", "etag=%221%22");
            assert_eq!(
                (answer.header("etag"), answer.header("vary")),
                (Some("\"1\""), Some("accept-encoding"))
            );
            assert_eq!(get("gzip", "etag=%221%22&content-type=image/png").header("etag"), Some("\"1\""));
            assert_eq!(get("gzip", "etag=%221%22&cache-control=no-transform").header("etag"), Some("\"1\""));
        });
    }

    #[test]
    fn an_event_can_be_read_while_the_stream_waits() {
        for coding in ["gzip", "br", "zstd"] {
            let app = app_fn(|_, scope: Scope| async move {
                let worker = scope.worker().clone();
                Ok(head(
                    Some("content-type=text/event-stream"),
                    AsyncBody::generate(|mut frames| async move {
                        frames.data("data: first\n\n").await;
                        worker.sleep(std::time::Duration::from_secs(60)).await;
                        frames.data("data: second\n\n").await;
                        Ok(())
                    }),
                ))
            });
            let client = Client::new(Compression::new().around(app));
            let mut exchange = client.get("/").header("accept-encoding", coding).start();
            let mut so_far = Vec::new();
            while let std::task::Poll::Ready(Some(Ok(varvel::Frame::Data(data)))) = exchange.poll_frame() {
                so_far.extend_from_slice(&data);
            }
            let mut event = [0; 13];
            let read = match coding {
                "gzip" => flate2::read::GzDecoder::new(&so_far[..]).read_exact(&mut event),
                "br" => brotli::Decompressor::new(&so_far[..], 4096).read_exact(&mut event),
                _ => zstd::stream::read::Decoder::new(&so_far[..]).unwrap().read_exact(&mut event),
            };
            read.unwrap_or_else(|error| panic!("{coding}: {error}"));
            assert_eq!(&event, b"data: first\n\n", "{coding}");
        }
    }

    #[test]
    fn it_keeps_to_the_contract() {
        for coding in ["gzip", "br", "zstd", "identity"] {
            let prepare = |head: &mut http::request::Parts| {
                head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
            };
            let compression = Compression::new().min_bytes(1);
            varvel_lint::middleware_with(prepare, |inner| compression.around(inner));
            varvel_lint::middleware_sync_with(prepare, |inner| compression.around(inner));
        }
    }
}
