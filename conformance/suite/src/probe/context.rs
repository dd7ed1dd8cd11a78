//! What a call of either form has to do with: its events, what it keeps, and the steps that neither wait nor answer.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use varvel::{
    AsyncBody, BodyError, FileRegion, Finish, Frame, ProcessModel, ReadBody, Scope, Timer, Watch, Worker,
};

use super::{
    Link, ProbeApp,
    describe::hex,
    program::{Step, pattern},
};

/// A call, for as long as it or its body runs.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) link: Arc<Link>,
    pub(super) key: String,
    pub(super) worker: Worker,
    watch: Watch,
    /// The client's address, and the number of the exchange on its connection.
    peer: String,
    number: u64,
    running: Arc<AtomicU64>,
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

/// What a request left for a later one.
#[derive(Debug)]
pub(crate) struct Kept {
    watch: Watch,
    body: Option<KeptBody>,
    scope: Option<Scope>,
}

/// A request body of either form.
#[derive(Debug)]
pub(super) enum KeptBody {
    Sync(ReadBody),
    Async(AsyncBody),
}

impl Context {
    /// Begins a call: counts and announces it.
    pub(super) fn begin(app: &ProbeApp, scope: &Scope, description: &Value) -> Arc<Self> {
        let context = Self {
            link: Arc::clone(&app.link),
            key: key_of(&String::from_utf8_lossy(scope.raw_target())).to_owned(),
            worker: scope.worker().clone(),
            watch: scope.watch(),
            peer: scope.conn().peer.to_string(),
            number: scope.number(),
            running: Arc::clone(&app.running),
            kept: Arc::clone(&app.kept),
        };
        let overlap = app.running.fetch_add(1, Ordering::SeqCst) + 1;
        let mut fields = description.clone();
        fields["overlap"] = overlap.into();
        context.emit("call", fields);
        Arc::new(context)
    }

    /// Tells the recorder of an event of this call.
    pub(super) fn emit(&self, event: &str, mut fields: Value) {
        if !self.link.has_recorder() {
            return;
        }
        fields["event"] = event.into();
        fields["key"] = self.key.as_str().into();
        fields["peer"] = self.peer.as_str().into();
        fields["number"] = self.number.into();
        fields["pid"] = std::process::id().into();
        self.link.emit(fields);
    }

    /// Does a step if it is one that needs nothing but this.
    pub(super) fn instant(self: &Arc<Self>, step: &Step) {
        match step {
            Step::Emit(name) => self.emit("mark", json!({ "name": name, "thread": thread_name() })),
            Step::Interim(status, fields) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::IM_A_TEAPOT);
                let result = self.watch.interim(status, fields);
                self.emit("interim", json!({ "status": status.as_u16(), "result": result_text(result) }));
            }
            Step::Watch => self.watch_elsewhere(),
            Step::Die => self.die(),
            Step::Panic | Step::PanicEarly => panic!("probe: planned panic"),
            Step::Spawn(name) => self.spawn(name.clone()),
            Step::Offload(name) => self.offload(name.clone()),
            Step::BackgroundPanic { job: true } => {
                let accepted =
                    self.worker.offload(Box::new(|| panic!("probe: planned panic in a job"))).is_ok();
                self.emit("offloaded", json!({ "accepted": accepted }));
            }
            Step::BackgroundPanic { job: false } => {
                let task = Box::pin(async { panic!("probe: planned panic in a task") });
                let accepted = self.worker.spawn(task).is_ok();
                self.emit("spawned", json!({ "accepted": accepted }));
            }
            _ => {}
        }
    }

    /// Has a hook called at the end of the exchange.
    pub(super) fn hook(self: &Arc<Self>, scope: &Scope, panics: bool) {
        on_finish(scope, Arc::clone(&self.link), self.key.clone(), panics);
    }

    /// Keeps the handle to the exchange, and the request body or the scope.
    pub(super) fn keep(&self, body: Option<KeptBody>, scope: Option<Scope>) {
        self.kept().insert(self.key.clone(), Kept { watch: self.watch.clone(), body, scope });
    }

    /// Uses what another request kept.
    pub(super) fn stale(&self, key: &str) {
        let Some(Kept { watch, body, scope }) = self.kept().remove(key) else {
            return self.emit("stale", json!({ "result": "nothing was kept" }));
        };
        if let Some(scope) = scope {
            on_finish(&scope, Arc::clone(&self.link), key.to_owned(), false);
        }
        let result = result_text(watch.interim(StatusCode::EARLY_HINTS, &HeaderMap::new()));
        let pulled = match body {
            None => Value::Null,
            Some(KeptBody::Sync(mut body)) => pulled_text(&body.next_frame()).into(),
            Some(KeptBody::Async(mut body)) => {
                match body.poll_frame(&mut TaskContext::from_waker(Waker::noop())) {
                    Poll::Ready(frame) => pulled_text(&frame.transpose()).into(),
                    Poll::Pending => "pending".into(),
                }
            }
        };
        self.emit(
            "stale",
            json!({ "result": result, "pulled": pulled, "disconnected": watch.is_disconnected() }),
        );
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle to the exchange.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Announces that the call waits for something.
    pub(super) fn waits(&self, event: &str, name: &str) {
        self.emit(event, json!({ "name": name, "thread": thread_name() }));
    }

    fn watch_elsewhere(&self) {
        let (link, key, watch) = (Arc::clone(&self.link), self.key.clone(), self.watch.clone());
        self.waits("waiting", "disconnected");
        thread::spawn(move || {
            block_on(watch.disconnected());
            link.emit(json!({
                "event": "disconnected", "key": key, "pid": std::process::id(), "is": watch.is_disconnected(),
            }));
        });
    }

    fn die(&self) {
        /// What wakes it dies of it.
        struct Deadly;
        impl Wake for Deadly {
            fn wake(self: Arc<Self>) {
                panic!("probe: planned panic in a waker");
            }
        }
        self.emit("dying", json!({}));
        if self.worker.info().process != ProcessModel::Single {
            std::process::abort();
        }
        let mut timer = self.worker.sleep(Duration::from_millis(1));
        let _ = pin!(&mut timer).poll(&mut TaskContext::from_waker(&Waker::from(Arc::new(Deadly))));
        // Dropped, it would be cancelled.
        std::mem::forget(timer);
    }

    fn spawn(self: &Arc<Self>, name: String) {
        struct Task(Arc<Link>, String, String, bool);
        impl Task {
            fn emit(&self, event: &str) {
                self.0.emit(json!({
                    "event": event, "key": self.1, "name": self.2, "pid": std::process::id(), "thread": thread_name(),
                }));
            }
        }
        impl Drop for Task {
            fn drop(&mut self) {
                if !self.3 {
                    self.emit("task-dropped");
                }
            }
        }
        let mut task = Task(Arc::clone(&self.link), self.key.clone(), name, false);
        let spawned = self.worker.spawn(Box::pin(async move {
            task.emit("task-began");
            task.0.pass(&task.2).await;
            task.3 = true;
            task.emit("task-ended");
        }));
        self.emit("spawned", json!({ "accepted": spawned.is_ok() }));
    }

    fn offload(self: &Arc<Self>, name: String) {
        let (link, key) = (Arc::clone(&self.link), self.key.clone());
        let emit = move |event: &str, name: &str| {
            link.emit(json!({
                "event": event, "key": key, "name": name, "pid": std::process::id(), "thread": thread_name(),
            }));
        };
        let link = Arc::clone(&self.link);
        let offloaded = self.worker.offload(Box::new(move || {
            emit("job-began", &name);
            link.wait(&name);
            emit("job-ended", &name);
        }));
        self.emit("offloaded", json!({ "accepted": offloaded.is_ok() }));
    }
}

/// The call is over when nothing of it is left.
impl Drop for Context {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.emit("call-ended", json!({}));
    }
}

/// How much of a body's data is kept to be shown, in bytes.
const START: usize = 1024;

/// Has a hook called at the end of an exchange, which must not count as a part of its call.
fn on_finish(scope: &Scope, link: Arc<Link>, key: String, panics: bool) {
    scope.on_finish(move |finish: &Finish| {
        link.emit(json!({
            "event": "finish", "key": key, "pid": std::process::id(),
            "outcome": format!("{:?}", finish.outcome),
            "status": finish.status.map(|status| status.as_u16()),
            "bytes": finish.bytes,
        }));
        if panics {
            panic!("probe: planned panic in a hook");
        }
    });
}

/// What pulling a request body has come to.
#[derive(Debug, Default)]
pub(super) struct Reading {
    len: u64,
    digest: Sha256,
    /// The first of the data.
    start: Vec<u8>,
    trailers: Option<HeaderMap>,
    frames: u64,
    ended: bool,
    pub(super) error: Option<BodyError>,
}

impl Reading {
    /// Whether so much was read, or there is no more.
    pub(super) fn has(&self, wanted: Option<u64>) -> bool {
        self.ended || self.error.is_some() || wanted.is_some_and(|wanted| self.len >= wanted)
    }

    pub(super) fn add(&mut self, frame: Result<Option<Frame>, BodyError>) {
        match frame {
            Ok(Some(Frame::Data(data))) => {
                self.frames += 1;
                self.len += data.len() as u64;
                self.digest.update(&data);
                self.start.extend(data.iter().take(START.saturating_sub(self.start.len())));
            }
            Ok(Some(Frame::Trailers(trailers))) => self.trailers = Some(trailers),
            Ok(Some(_)) => {}
            Ok(None) => self.ended = true,
            Err(error) => self.error = Some(error),
        }
    }

    /// The fields of the event `read`: `bytes`, `digest` of all data, `hex` of its first kilobyte, `trailers`, and
    /// `end`, which is `end`, the kind of an error, or `more`.
    pub(super) fn fields(&self) -> Value {
        let end = match &self.error {
            Some(error) => format!("{:?}", error.kind()),
            None if self.ended => "end".to_owned(),
            None => "more".to_owned(),
        };
        json!({
            "bytes": self.len,
            "frames": self.frames,
            "digest": self.digest(),
            "hex": hex(&self.start),
            "trailers": self.trailers.as_ref().map(fields_text),
            "end": end,
        })
    }

    /// How many bytes of data there were so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Their SHA-256 in hex.
    pub(super) fn digest(&self) -> String {
        hex(self.digest.clone().finalize())
    }

    /// The trailer fields, if they have come.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

/// One frame in words: `data HEX`, `trailers NAME:HEX ...`, `end`, or the kind of an error.
pub(super) fn pulled_text(frame: &Result<Option<Frame>, BodyError>) -> String {
    match frame {
        Ok(Some(Frame::Data(data))) => format!("data {}", hex(data)),
        Ok(Some(Frame::Trailers(trailers))) => format!("trailers {}", fields_text(trailers).join(" ")),
        Ok(Some(_)) => "unknown".to_owned(),
        Ok(None) => "end".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// A region of a file whose bytes, `actual` of them, are the pattern. All regions of a length share one file.
pub(super) fn region(offset: u64, len: u64, actual: u64) -> std::io::Result<FileRegion> {
    static FILES: Mutex<BTreeMap<u64, Arc<File>>> = Mutex::new(BTreeMap::new());
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match files.get(&actual) {
        Some(file) => Arc::clone(file),
        None => {
            let file = Arc::new(nameless_file(actual)?);
            files.insert(actual, Arc::clone(&file));
            file
        }
    };
    Ok(FileRegion { file, offset, len })
}

fn nameless_file(len: u64) -> std::io::Result<File> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("varvel-conformance-{}-{number}.file", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(&pattern(0, len))?;
    Ok(file)
}

/// Frame `nth` of `frames=COUNT:BYTES`.
pub(super) fn piece(nth: u64, bytes: u64) -> Bytes {
    pattern(nth * bytes, bytes)
}

/// Panics when the last of its clones is dropped, unless a panic is under way.
#[derive(Clone, Debug)]
pub(super) struct Bomb(#[allow(dead_code, reason = "it is there to be dropped")] Arc<Fuse>);

#[derive(Debug)]
struct Fuse;

impl Bomb {
    pub(super) fn new() -> Self {
        Self(Arc::new(Fuse))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("probe: planned panic in a destructor");
        }
    }
}

/// The first segment of a path, or of the path of an absolute URI, or the host of an authority.
pub(super) fn key_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => target,
    };
    // What has no path is the authority of a CONNECT.
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split(['/', '?', ':']).next().unwrap_or_default()
}

/// A timer that a task which is gone polled first.
pub(super) fn polled_elsewhere(mut timer: Timer) -> Timer {
    // Ready at once if it was too short to try anything with.
    let _ = pin!(&mut timer).poll(&mut TaskContext::from_waker(Waker::noop()));
    timer
}

/// Names the current thread, uniquely in the process.
pub(super) fn thread_name() -> String {
    format!("{:?}", thread::current().id())
}

/// Polls a future on this thread until it is done.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn result_text<E: std::fmt::Debug>(result: Result<(), E>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "Ok".to_owned())
}

fn fields_text(fields: &HeaderMap) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}:{}", hex(value))).collect()
}
