//! Files of a directory, as an application of either form.
//!
//! ```no_run
//! use http::HeaderValue;
//! use varvel_toolkit::files::Files;
//!
//! # fn main() -> std::io::Result<()> {
//! let files = Files::new("static")?
//!     .precompressed(true)
//!     .cache_control(HeaderValue::from_static("public, max-age=3600"));
//! # Ok(())
//! # }
//! ```
//!
//! What is asked for is the scope's local path, so it can be mounted anywhere. GET and HEAD are answered:
//!
//! | asked for | answer |
//! |---|---|
//! | a file | 200 or 206 with its bytes, straight from the file; 304, 412, 416 as the conditions have it |
//! | a directory with `/` behind it | its index file |
//! | a directory without | 301 to the same with `/` |
//! | what is not there, or not to be seen | 404, and 403 where the file system forbids it |
//!
//! # No way out
//!
//! The path is split before it is decoded. A segment that is empty, `.` or `..`, or has a `/` or a NUL in it once it
//! is decoded, is not there, and nor is one that begins with a dot, unless [hidden files](Files::hidden) are wanted.
//! What is left is opened below the directory, which is opened once, at the start: on Linux the kernel itself sees to
//! it that nothing leads out (`openat2`), elsewhere each segment is opened below the one before. Links count as what
//! is not there, unless [they are followed](Files::follow_links), and then only within the directory. Only regular
//! files are sent.
//!
//! # Nothing blocks an event loop
//!
//! Files are looked up and opened by [`offload`]; their bytes are the server's to send.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fmt,
    fs::{File, Metadata},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use percent_encoding::percent_decode_str;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use varvel::{
    App, AppError, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, FileRegion, Mode as BodyMode,
    ReadBody, Scope,
};

use crate::{
    Accept, Blocking, Form, HttpError, Polled, accept,
    background::{Offload, offload},
    conditional::{self, ETag, Validators},
};

/// The files of a directory; see the [module](self).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use varvel_test::Client;
/// use varvel_toolkit::files::Files;
///
/// # let directory = std::env::temp_dir().join(format!("varvel-files-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// std::fs::write(directory.join("hello.txt"), "Hello, World!")?;
/// let client = Client::new(Files::new(&directory)?);
///
/// let response = client.get("/hello.txt").header("range", "bytes=0-4").send();
/// assert_eq!(response.text(), "Hello");
/// assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
/// assert_eq!(client.get("/../Cargo.toml").send().status(), 404);
/// # std::fs::remove_dir_all(directory)
/// # }
/// ```
#[derive(Clone)]
pub struct Files(Arc<Directory>);

#[derive(Clone)]
struct Directory {
    root: Arc<OwnedFd>,
    path: PathBuf,
    index: Option<String>,
    hidden: bool,
    follow_links: bool,
    precompressed: bool,
    cache_control: Option<HeaderValue>,
    ranges_max: usize,
    returns_errors: bool,
}

impl Files {
    /// The files of a directory. It is opened now: another that takes its place and name later is not looked at.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let path = std::path::absolute(directory.into())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self(Arc::new(Directory {
            root: Arc::new(root),
            path,
            index: Some("index.html".to_owned()),
            hidden: false,
            follow_links: false,
            precompressed: false,
            cache_control: None,
            ranges_max: 16,
            returns_errors: false,
        })))
    }

    /// The file that stands for its directory, `index.html` unless said otherwise; none with `None`.
    #[must_use]
    pub fn index(self, name: Option<&str>) -> Self {
        self.with(|directory| directory.index = name.map(str::to_owned))
    }

    /// Whether what begins with a dot can be seen, such as `.well-known`; off, for so do `.git` and `.env`.
    #[must_use]
    pub fn hidden(self, are_seen: bool) -> Self {
        self.with(|directory| directory.hidden = are_seen)
    }

    /// Whether symbolic links are followed, as long as they stay within the directory; off.
    #[must_use]
    pub fn follow_links(self, are_followed: bool) -> Self {
        self.with(|directory| directory.follow_links = are_followed)
    }

    /// Whether `app.js.br`, `app.js.zst` or `app.js.gz` is sent for `app.js`, if it is there and the client takes it;
    /// off. To keep them up to date is up to whoever makes them.
    #[must_use]
    pub fn precompressed(self, are_used: bool) -> Self {
        self.with(|directory| directory.precompressed = are_used)
    }

    /// What Cache-Control says of files; nothing unless set. Without it caches guess.
    #[must_use]
    pub fn cache_control(self, value: HeaderValue) -> Self {
        self.with(|directory| directory.cache_control = Some(value))
    }

    /// How many ranges a client may ask for at once, 16 unless set; to who asks for more the whole file is sent.
    #[must_use]
    pub fn ranges_max(self, ranges: usize) -> Self {
        self.with(|directory| directory.ranges_max = ranges)
    }

    /// Whether 403, 404 and 405 are returned as [`HttpError`]s, for who calls to answer them as its own, as frameworks do; off,
    /// they are answered with problem details.
    #[must_use]
    pub fn returning_errors(self, are_returned: bool) -> Self {
        self.with(|directory| directory.returns_errors = are_returned)
    }

    fn with(mut self, change: impl FnOnce(&mut Directory)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Files").field(&self.0.path).finish()
    }
}

impl App for Files {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        let question = Question::of(request, &scope);
        self.0.answer::<Blocking>(&question)
    }
}

impl AsyncApp for Files {
    type Future = FilesCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> FilesCall {
        let question = Question::of(request, &scope);
        let directory = Arc::clone(&self.0);
        FilesCall { answer: offload(scope.worker(), move || directory.answer::<Polled>(&question)) }
    }
}

/// The answer of [`Files`] on an event loop.
#[must_use = "futures do nothing unless polled"]
pub struct FilesCall {
    answer: Offload<AsyncAppResult>,
}

impl Future for FilesCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.and_then(|answer| answer))
    }
}

impl fmt::Debug for FilesCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilesCall")
    }
}

/// What a request asks for.
struct Question {
    head: request::Parts,
    /// How much of the path leads to here.
    mount: usize,
}

impl Question {
    fn of<B>(request: Request<B>, scope: &Scope) -> Self {
        let (head, _no_body) = request.into_parts();
        let mount = scope.mount(&head.uri).len();
        Self { head, mount }
    }

    /// Whether it asks for a directory, by the `/` behind it.
    fn wants_directory(&self) -> bool {
        self.head.uri.path().ends_with('/')
    }
}

/// The path of a file below the root; `None` if it is none.
fn below_root(local: &str, hidden: bool) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    if matches!(local, "" | "/") {
        return Some(path);
    }
    let local = local.strip_prefix('/')?;
    let local = local.strip_suffix('/').unwrap_or(local);
    for segment in local.split('/') {
        let name: Cow<'_, [u8]> = percent_decode_str(segment).into();
        let is_dots = matches!(&*name, b"" | b"." | b"..");
        let leads_elsewhere = name.iter().any(|byte| matches!(byte, b'/' | 0));
        if is_dots || leads_elsewhere || (name.starts_with(b".") && !hidden) {
            return None;
        }
        path.push(OsStr::from_bytes(&name));
    }
    Some(path)
}

/// Leads to the same URL with a `/` behind its path. Relative, so that it holds behind a proxy that has taken a
/// prefix away, and with a `./` in front, so that no segment is taken for a scheme or a host.
fn redirect<M: BodyMode>(uri: &Uri) -> Response<Body<M>> {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::try_from(format!("./{last}/{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// What was found for a question.
enum Found {
    File(Opened),
    /// A directory, asked for as if it were a file.
    Directory,
    Nothing,
}

/// A regular file, open.
struct Opened {
    file: File,
    len: u64,
    validators: Validators,
    /// Of the file that was asked for, also where a compressed one is sent for it.
    media_type: String,
    coding: Option<&'static str>,
}

impl Directory {
    /// Looks for what was asked for, and answers; blocks.
    fn answer<F: Form>(&self, question: &Question) -> Result<Response<Body<F::Out>>, AppError> {
        let head = &question.head;
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let refusal = HttpError::new(StatusCode::METHOD_NOT_ALLOWED);
            let allow = HeaderValue::from_static("GET, HEAD");
            return self.refuse(refusal.with_header(header::ALLOW, allow), &head.headers);
        }
        let status = match self.find(question) {
            Ok(Found::File(opened)) => return Ok(self.send::<F>(question, opened)),
            Ok(Found::Directory) => return Ok(redirect(&head.uri)),
            Ok(Found::Nothing) => StatusCode::NOT_FOUND,
            Err(error) if is_absent(&error) => StatusCode::NOT_FOUND,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            // Too many files are open; it will pass.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
                return Err(AppError::unavailable(error));
            }
            Err(error) => return Err(AppError::internal(error)),
        };
        self.refuse(HttpError::new(status), &head.headers)
    }

    fn refuse<M: BodyMode>(
        &self,
        refusal: HttpError,
        headers: &HeaderMap,
    ) -> Result<Response<Body<M>>, AppError> {
        if self.returns_errors { Err(refusal.into()) } else { Ok(refusal.respond(&Accept::of(headers))) }
    }

    fn find(&self, question: &Question) -> io::Result<Found> {
        let local = question.head.uri.path().get(question.mount..).unwrap_or_default();
        let Some(mut path) = below_root(local, self.hidden) else { return Ok(Found::Nothing) };
        let (mut file, mut metadata) = self.open(&path)?;
        if metadata.is_dir() {
            let Some(index) = &self.index else { return Ok(Found::Nothing) };
            if !question.wants_directory() {
                return Ok(Found::Directory);
            }
            path.push(index);
            (file, metadata) = self.open(&path)?;
        } else if question.wants_directory() {
            return Ok(Found::Nothing);
        }
        if !metadata.is_file() {
            return Ok(Found::Nothing);
        }
        let media_type = media_type(&path);
        let mut coding = None;
        if let Some((compressed, its_metadata, its_coding)) =
            self.compressed(&path, &question.head.headers)?
        {
            (file, metadata, coding) = (compressed, its_metadata, Some(its_coding));
        }
        let validators = validators(&metadata, coding, SystemTime::now());
        Ok(Found::File(Opened { file, len: metadata.len(), validators, media_type, coding }))
    }

    /// The best of the compressed files beside one that the client takes.
    fn compressed(
        &self,
        path: &Path,
        headers: &HeaderMap,
    ) -> io::Result<Option<(File, Metadata, &'static str)>> {
        if !self.precompressed || !headers.contains_key(header::ACCEPT_ENCODING) {
            return Ok(None);
        }
        let mut offers = vec!["br", "zstd", "gzip", "identity"];
        while let Some(coding) = accept::encoding(headers, &offers) {
            let extension = match coding {
                "br" => ".br",
                "zstd" => ".zst",
                "gzip" => ".gz",
                _ => return Ok(None),
            };
            let mut beside = path.as_os_str().to_owned();
            beside.push(extension);
            match self.open(Path::new(&beside)) {
                Ok((file, metadata)) if metadata.is_file() => return Ok(Some((file, metadata, coding))),
                Err(error) if !is_absent(&error) => return Err(error),
                _ => offers.retain(|offer| *offer != coding),
            }
        }
        Ok(None)
    }

    fn open(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let file = File::from(beneath::open(self.root.as_fd(), &self.path, path, self.follow_links)?);
        let metadata = file.metadata()?;
        Ok((file, metadata))
    }

    fn send<F: Form>(&self, question: &Question, opened: Opened) -> Response<Body<F::Out>> {
        let Opened { file, len, validators, media_type, coding } = opened;
        let region = FileRegion { file: Arc::new(file), offset: 0, len };
        let mut response = Response::new(Body::file(region));
        let headers = response.headers_mut();
        if let Ok(media_type) = HeaderValue::try_from(media_type) {
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        validators.write_to(headers);
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if self.precompressed {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Some(cache_control) = &self.cache_control {
            headers.insert(header::CACHE_CONTROL, cache_control.clone());
        }
        conditional::answer::<F>(&question.head.method, &question.head.headers, response, self.ranges_max)
    }
}

/// What tells the versions of a file apart: when it was modified, and how long it is. The inode would tell more, and
/// would differ between the machines of one site.
///
/// What was modified a moment ago may be modified again without another date, so it gets no date, and a weak tag. A
/// compressed file has a tag of its own, also where it is of the same age and length as another.
fn validators(metadata: &Metadata, coding: Option<&str>, now: SystemTime) -> Validators {
    let Some(modified) = metadata.modified().ok() else { return Validators::default() };
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut opaque = format!("{:x}.{:x}-{:x}", since.as_secs(), since.subsec_nanos(), metadata.len());
    if let Some(coding) = coding {
        opaque.push('-');
        opaque.push_str(coding);
    }
    if now.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1)) {
        Validators { etag: ETag::strong(&opaque), last_modified: Some(modified) }
    } else {
        Validators { etag: ETag::weak(&opaque), last_modified: None }
    }
}

/// By the extension. Text is said to be UTF-8: what is not said, browsers take for something else.
pub(crate) fn media_type(path: &Path) -> String {
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    if media_type.type_() == "text" { format!("{media_type}; charset=utf-8") } else { media_type.to_string() }
}

/// Whether an error says no more than that there is no such file, or none that may be seen.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || matches!(
            Errno::from_io_error(error),
            // A link, one that leads out, a socket, a name that no file can have.
            Some(Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::NAMETOOLONG | Errno::INVAL)
        )
}

/// Opening files below a directory and nowhere else.
mod beneath {
    use std::{
        os::fd::{AsFd, BorrowedFd, OwnedFd},
        path::{Component, Path},
    };

    use rustix::{
        fs::{Mode, OFlags, openat},
        io::Errno,
    };

    /// Does not wait for the other end of a pipe, nor become the terminal's owner.
    const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

    /// Opens what is at a relative path without `..`.
    pub(super) fn open(
        root: BorrowedFd<'_>,
        root_path: &Path,
        path: &Path,
        follow_links: bool,
    ) -> Result<OwnedFd, Errno> {
        #[cfg(target_os = "linux")]
        match by_the_kernel(root, path, follow_links) {
            // An old kernel has no such call, a container may forbid it, and where a link was followed while
            // something was renamed the kernel cannot vouch for where it led.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {}
            opened => return opened,
        }
        by_segment(root, root_path, path, follow_links)
    }

    #[cfg(target_os = "linux")]
    fn by_the_kernel(root: BorrowedFd<'_>, path: &Path, follow_links: bool) -> Result<OwnedFd, Errno> {
        use rustix::fs::{ResolveFlags, openat2};

        let links = if follow_links { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_SYMLINKS };
        openat2(root, path, READ, Mode::empty(), ResolveFlags::BENEATH | links)
    }

    /// Each segment below the one before, and none of them a link: so nothing that happens in the meantime leads out.
    pub(super) fn by_segment(
        root: BorrowedFd<'_>,
        root_path: &Path,
        path: &Path,
        follow_links: bool,
    ) -> Result<OwnedFd, Errno> {
        let resolved;
        let path = if follow_links {
            let real = |path: &Path| {
                path.canonicalize().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            };
            resolved = real(&root_path.join(path))?;
            resolved.strip_prefix(real(root_path)?).map_err(|_| Errno::XDEV)?
        } else {
            path
        };
        let mut opened = openat(root, ".", READ | OFlags::DIRECTORY, Mode::empty())?;
        let mut segments = path.components().filter(|segment| *segment != Component::CurDir).peekable();
        while let Some(segment) = segments.next() {
            let Component::Normal(name) = segment else { return Err(Errno::XDEV) };
            let directory = if segments.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
            opened = openat(opened.as_fd(), name, READ | OFlags::NOFOLLOW | directory, Mode::empty())?;
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
        sync::atomic::{AtomicU32, Ordering},
    };

    use proptest::prelude::*;
    use varvel::Caps;
    use varvel_lint::Lint;
    use varvel_test::{Client, Response as Answer, Setup};

    use super::*;

    /// A directory with things in it, a secret beside it, and everything gone at the end.
    struct Site(PathBuf);

    impl Site {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let site =
                Self(std::env::temp_dir().join(format!("varvel-files-{}-{number}", std::process::id())));
            fs::create_dir_all(site.root().join("sub/deep")).unwrap();
            fs::create_dir_all(site.0.join("rootless")).unwrap();
            site.write("../secret.txt", "secret");
            site.write("../rootless/secret.txt", "secret");
            site.write("hello.txt", "Hello, World!");
            site.write("sub/index.html", "<p>index");
            site.write("sub/a b.css", "p{}");
            site.write("sub/deep/blob", "\0\u{1}");
            site.write(".env", "password");
            site.write("..strange", "strange");
            site
        }

        fn root(&self) -> PathBuf {
            self.0.join("root")
        }

        /// Writes a file that was modified long ago.
        fn write(&self, path: &str, content: &str) {
            let path = self.root().join(path);
            fs::write(&path, content).unwrap();
            modified(&path, 784_111_777);
        }

        fn files(&self) -> Files {
            Files::new(self.root()).unwrap()
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn modified(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    /// In both forms, with the lint around.
    fn clients(files: &Files) -> [Client; 2] {
        [Client::sync(Lint::new(files.clone())), Client::new(Lint::new(files.clone()))]
    }

    fn in_each_form(files: &Files, check: impl Fn(&Client)) {
        clients(files).iter().for_each(check);
    }

    fn text(answer: &Answer) -> String {
        format!("{} {}", answer.status().as_u16(), answer.body().escape_ascii())
    }

    #[test]
    fn a_file_is_sent_with_what_there_is_to_say_of_it() {
        let site = Site::new();
        in_each_form(&site.files(), |client| {
            let answer = client.get("/hello.txt?v=1").send();
            assert_eq!(text(&answer), "200 Hello, World!");
            for (name, value) in [
                ("content-type", "text/plain; charset=utf-8"),
                ("content-length", "13"),
                ("accept-ranges", "bytes"),
                ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("etag", "\"2ebc98a1.0-d\""),
            ] {
                assert_eq!(answer.header(name), Some(value));
            }
            for name in ["vary", "cache-control", "content-encoding"] {
                assert_eq!(answer.header(name), None);
            }
            assert_eq!(client.head("/hello.txt").send().header("content-length"), Some("13"));
            assert_eq!(
                client.get("/sub/a%20b.css").send().header("content-type"),
                Some("text/css; charset=utf-8")
            );
            let blob = client.get("/sub/deep/blob").send();
            assert_eq!(blob.header("content-type"), Some("application/octet-stream"));
        });
    }

    #[test]
    fn there_is_no_way_out() {
        let site = Site::new();
        symlink("../secret.txt", site.root().join("link.txt")).unwrap();
        symlink("..", site.root().join("up")).unwrap();
        symlink("/etc", site.root().join("etc")).unwrap();
        let attempts = [
            "/../secret.txt",
            "/..",
            "/../",
            "/../../../../../../etc/passwd",
            "/sub/../hello.txt",
            "/sub/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/%2E%2e/secret.txt",
            "/.%2e/secret.txt",
            "/..%2fsecret.txt",
            "/..%2Fsecret.txt",
            "/sub%2f..%2f..%2fsecret.txt",
            "/sub%2findex.html",
            "/%2fetc%2fpasswd",
            "//etc/passwd",
            "//hello.txt",
            "/sub//index.html",
            "//",
            "///",
            "/./hello.txt",
            "/%2e/hello.txt",
            "/%252e%252e/secret.txt",
            "/..%5csecret.txt",
            "/..%c0%afsecret.txt",
            "/%c0%ae%c0%ae/secret.txt",
            "/..;/secret.txt",
            "/hello.txt%00",
            "/hello.txt%00.html",
            "/%00",
            "/hello.txt/",
            "/hello.txt/..",
            "/hello.txt/x",
            "/%ff%fe",
            "/....//secret.txt",
            "/rootless/secret.txt",
            "/../rootless/secret.txt",
            // Hidden, however it is written.
            "/.env",
            "/%2eenv",
            "/..strange",
            // Links.
            "/link.txt",
            "/up/secret.txt",
            "/up/root/hello.txt",
            "/etc/passwd",
        ];
        in_each_form(&site.files().index(Some("hello.txt")), |client| {
            for target in attempts {
                let answer = client.get(target).send();
                assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{target}: {}", text(&answer));
            }
            let long = format!("/{}", "a".repeat(5000));
            assert_eq!(client.get(&long).send().status(), StatusCode::NOT_FOUND);
        });
    }

    #[test]
    fn without_the_kernels_help_there_is_no_way_out_either() {
        let site = Site::new();
        symlink("../secret.txt", site.root().join("out")).unwrap();
        symlink("sub", site.root().join("in")).unwrap();
        symlink("loop", site.root().join("loop")).unwrap();
        let root = site.files().0.root.clone();
        let open = |path: &str, follow_links| {
            beneath::by_segment(root.as_fd(), &site.root(), Path::new(path), follow_links).map(|_| ())
        };
        for follow_links in [false, true] {
            assert_eq!(open("hello.txt", follow_links), Ok(()));
            assert_eq!(open("sub/deep", follow_links), Ok(()));
            assert_eq!(open(".", follow_links), Ok(()));
            assert!(open("loop", follow_links).is_err());
            assert!(open("out", follow_links).is_err());
            assert!(open("hello.txt/x", follow_links).is_err());
            assert!(is_absent(&open("nothing", follow_links).unwrap_err().into()));
        }
        assert!(open("in/index.html", false).is_err());
        assert_eq!(open("in/index.html", true), Ok(()));
        assert!(open("../secret.txt", false).is_err());
        assert!(open("../secret.txt", true).is_err());
    }

    #[test]
    fn links_that_are_followed_stay_within() {
        let site = Site::new();
        symlink("sub", site.root().join("in")).unwrap();
        symlink("../hello.txt", site.root().join("sub/back.txt")).unwrap();
        symlink("../secret.txt", site.root().join("out.txt")).unwrap();
        symlink(site.root().join("hello.txt"), site.root().join("absolute.txt")).unwrap();
        in_each_form(&site.files().follow_links(true), |client| {
            assert_eq!(text(&client.get("/in/").send()), "200 <p>index");
            assert_eq!(text(&client.get("/in/back.txt").send()), "200 Hello, World!");
            assert_eq!(client.get("/out.txt").send().status(), StatusCode::NOT_FOUND);
            // Absolute ones begin outside, wherever they lead.
            assert_eq!(client.get("/absolute.txt").send().status(), StatusCode::NOT_FOUND);
        });
    }

    #[test]
    fn hidden_files_are_seen_if_wanted() {
        let site = Site::new();
        in_each_form(&site.files().hidden(true), |client| {
            assert_eq!(text(&client.get("/.env").send()), "200 password");
            assert_eq!(text(&client.get("/..strange").send()), "200 strange");
            assert_eq!(client.get("/..").send().status(), StatusCode::NOT_FOUND);
        });
    }

    #[test]
    fn a_directory_is_its_index_or_nothing() {
        let site = Site::new();
        in_each_form(&site.files(), |client| {
            assert_eq!(text(&client.get("/sub/").send()), "200 <p>index");
            assert_eq!(client.get("/").send().status(), StatusCode::NOT_FOUND);
            assert_eq!(client.get("/sub/deep/").send().status(), StatusCode::NOT_FOUND);
            let answer = client.get("/sub?a=b").send();
            assert_eq!(answer.status(), StatusCode::MOVED_PERMANENTLY);
            assert_eq!(answer.header("location"), Some("./sub/?a=b"));
        });
        in_each_form(&site.files().index(None), |client| {
            assert_eq!(client.get("/sub/").send().status(), StatusCode::NOT_FOUND);
            assert_eq!(client.get("/sub").send().status(), StatusCode::NOT_FOUND);
        });
        in_each_form(&site.files().index(Some("a b.css")), |client| {
            assert_eq!(text(&client.get("/sub/").send()), "200 p{}");
        });
    }

    #[test]
    fn a_redirection_leads_nowhere_else() {
        let site = Site::new();
        fs::create_dir(site.root().join("javascript:alert(1)")).unwrap();
        fs::create_dir_all(site.root().join("evil.example")).unwrap();
        in_each_form(&site.files(), |client| {
            let location = |target| client.get(target).send().header("location").map(str::to_owned);
            assert_eq!(location("/javascript:alert(1)").unwrap(), "./javascript:alert(1)/");
            assert_eq!(location("//evil.example"), None);
            assert_eq!(location("/%2fevil.example"), None);
            assert_eq!(location("/%5cevil.example"), None);
        });
    }

    #[test]
    fn it_is_mounted_anywhere() {
        struct Mounted(Files);
        impl App for Mounted {
            fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
                scope.descend(request.uri(), "/static".len())?;
                App::call(&self.0, request, scope)
            }
        }
        let site = Site::new();
        let client = Client::sync(Mounted(site.files().index(Some("hello.txt"))));
        assert_eq!(text(&client.get("/static/hello.txt").send()), "200 Hello, World!");
        assert_eq!(text(&client.get("/static/").send()), "200 Hello, World!");
        assert_eq!(client.get("/static").send().header("location"), Some("./static/"));
        assert_eq!(client.get("/static/sub").send().header("location"), Some("./sub/"));
        assert_eq!(client.get("/static/../hello.txt").send().status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn conditions_and_ranges_hold() {
        let site = Site::new();
        in_each_form(&site.files(), |client| {
            let ask = |name: &'static str, value: &str| client.get("/hello.txt").header(name, value).send();
            let not_modified = ask("if-none-match", "W/\"2ebc98a1.0-d\"");
            assert_eq!(text(&not_modified), "304 ");
            assert_eq!(not_modified.header("etag"), Some("\"2ebc98a1.0-d\""));
            assert_eq!(ask("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT").status(), 304);
            assert_eq!(ask("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT").status(), 200);
            assert_eq!(ask("if-match", "\"other\"").status(), 412);
            let part = ask("range", "bytes=7-");
            assert_eq!(text(&part), "206 World!");
            assert_eq!(part.header("content-range"), Some("bytes 7-12/13"));
            let parts = ask("range", "bytes=0-1,-2");
            assert!(parts.header("content-type").unwrap().starts_with("multipart/byteranges"));
            assert_eq!(ask("range", "bytes=13-").status(), 416);
            let changed =
                client.get("/hello.txt").header("range", "bytes=7-").header("if-range", "\"other\"");
            assert_eq!(text(&changed.send()), "200 Hello, World!");
            let part = client.get("/hello.txt").header("range", "bytes=7-");
            assert_eq!(part.header("if-range", "Sun, 06 Nov 1994 08:49:37 GMT").send().status(), 206);
        });
        let many = format!("bytes={}", (0..6).map(|n| format!("{0}-{0},", n * 2)).collect::<String>());
        in_each_form(&site.files().ranges_max(5), |client| {
            assert_eq!(client.get("/hello.txt").header("range", &*many).send().status(), 200);
        });
    }

    #[test]
    fn what_was_just_modified_is_not_relied_on() {
        let site = Site::new();
        let path = site.root().join("hello.txt");
        let metadata = fs::metadata(&path).unwrap();
        let modified = metadata.modified().unwrap();
        for (age, is_old) in [(0, false), (999, false), (1000, true)] {
            let validators = validators(&metadata, None, modified + Duration::from_millis(age));
            assert_eq!(validators.etag.unwrap().is_strong(), is_old, "{age}");
            assert_eq!(validators.last_modified.is_some(), is_old, "{age}");
        }
        // From the future, as some archives have it, or from before all dates.
        let validators = validators(&metadata, None, modified - Duration::from_secs(5));
        assert_eq!(validators.last_modified, None);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH - Duration::from_secs(5)).unwrap();
        in_each_form(&site.files(), |client| {
            let answer = client.get("/hello.txt").send();
            assert_eq!((answer.status(), answer.header("last-modified")), (StatusCode::OK, None));
        });
    }

    #[test]
    fn a_file_that_changes_gets_another_tag() {
        let site = Site::new();
        in_each_form(&site.files(), |client| {
            site.write("hello.txt", "Hello, World!");
            let tag = || client.get("/hello.txt").send().header("etag").unwrap().to_owned();
            let first = tag();
            modified(&site.root().join("hello.txt"), 784_111_778);
            let second = tag();
            site.write("hello.txt", "Hello");
            let third = tag();
            assert!(first != second && second != third && first != third);
        });
    }

    #[test]
    fn compressed_files_are_sent_to_who_takes_them() {
        let site = Site::new();
        site.write("app.js", "plain");
        site.write("app.js.gz", "gzip");
        site.write("app.js.br", "br");
        site.write("only.js.gz", "gzip");
        fs::create_dir(site.root().join("app.js.zst")).unwrap();
        let cases = [
            (None, "plain", None),
            (Some("gzip"), "gzip", Some("gzip")),
            (Some("gzip, br"), "br", Some("br")),
            (Some("br;q=0.5, gzip"), "gzip", Some("gzip")),
            (Some("br;q=0, *"), "gzip", Some("gzip")),
            (Some("zstd"), "plain", None),
            (Some("zstd, gzip;q=0.1"), "gzip", Some("gzip")),
            (Some("identity, gzip;q=0"), "plain", None),
            (Some("deflate"), "plain", None),
        ];
        in_each_form(&site.files().precompressed(true), |client| {
            for (accepted, expected, coding) in cases {
                let request = client.get("/app.js");
                let request = match accepted {
                    Some(codings) => request.header("accept-encoding", codings),
                    None => request,
                };
                let answer = request.send();
                assert_eq!(
                    (answer.text(), answer.header("content-encoding")),
                    (expected, coding),
                    "{accepted:?}"
                );
                assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
                assert_eq!(answer.header("vary"), Some("accept-encoding"));
            }
            // Each has a tag of its own, and parts of it are parts of what is sent.
            let tag = |coding| {
                client
                    .get("/app.js")
                    .header("accept-encoding", coding)
                    .send()
                    .header("etag")
                    .unwrap()
                    .to_owned()
            };
            assert_ne!(tag("gzip"), tag("br"));
            site.write("app.js.br", "of 4");
            assert_ne!(tag("gzip"), tag("br"), "of the same age and length");
            site.write("app.js.br", "br");
            let part =
                client.get("/app.js").header("accept-encoding", "gzip").header("range", "bytes=0-0").send();
            assert_eq!((part.text(), part.header("content-encoding")), ("g", Some("gzip")));
            assert_eq!(client.get("/only.js").header("accept-encoding", "gzip").send().status(), 404);
            // Asked for by its own name, it is what it is.
            let itself = client.get("/app.js.gz").header("accept-encoding", "br").send();
            assert_eq!(itself.header("content-type"), Some("application/gzip"));
            assert_eq!(itself.header("content-encoding"), None);
        });
        in_each_form(&site.files(), |client| {
            let answer = client.get("/app.js").header("accept-encoding", "gzip").send();
            assert_eq!((answer.text(), answer.header("vary")), ("plain", None));
        });
    }

    #[test]
    fn only_regular_files_are_sent_and_nothing_waits_for_a_pipe() {
        let site = Site::new();
        let fifo = site.root().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(site.root().join("socket")).unwrap();
        in_each_form(&site.files(), |client| {
            assert_eq!(client.get("/fifo").send().status(), StatusCode::NOT_FOUND);
            assert_eq!(client.get("/socket").send().status(), StatusCode::NOT_FOUND);
        });
    }

    #[test]
    fn what_the_file_system_forbids_is_forbidden() {
        let site = Site::new();
        let path = site.root().join("hello.txt");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        // To root nothing is forbidden.
        let expected = if File::open(&path).is_ok() { StatusCode::OK } else { StatusCode::FORBIDDEN };
        in_each_form(&site.files(), |client| assert_eq!(client.get("/hello.txt").send().status(), expected));
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        let site = Site::new();
        in_each_form(&site.files(), |client| {
            for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
                let answer = client.request(method, "/hello.txt").send();
                assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(answer.header("allow"), Some("GET, HEAD"));
            }
        });
    }

    #[test]
    fn errors_can_be_left_to_who_calls() {
        let site = Site::new();
        in_each_form(&site.files().returning_errors(true), |client| {
            assert_eq!(client.get("/hello.txt").send().status(), StatusCode::OK);
            for (method, path, status) in [("GET", "/nothing", 404), ("POST", "/hello.txt", 405)] {
                let answer = client.request(method, path).try_send().unwrap();
                let error = answer.error().and_then(HttpError::of).unwrap();
                assert_eq!(error.status(), status);
            }
        });
    }

    #[test]
    fn caches_are_told_what_was_set() {
        let site = Site::new();
        let value = HeaderValue::from_static("public, max-age=60");
        in_each_form(&site.files().cache_control(value), |client| {
            let answer = client.get("/hello.txt").send();
            assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
            let tag = answer.header("etag").unwrap();
            let not_modified = client.get("/hello.txt").header("if-none-match", tag).send();
            assert_eq!(not_modified.header("cache-control"), Some("public, max-age=60"));
            assert_eq!(client.get("/nothing").send().header("cache-control"), None);
        });
    }

    #[test]
    fn no_capability_is_indispensable() {
        let site = Site::new();
        let client = Setup::new().without(Caps::OFFLOAD).without(Caps::FILE_ZEROCOPY).app(site.files());
        assert_eq!(text(&client.get("/hello.txt").send()), "200 Hello, World!");
        let request = || Request::get("/hello.txt").body("").unwrap();
        varvel_lint::cancel_everywhere(&site.files(), request());
        varvel_lint::overlap(&site.files(), request());
        varvel_lint::overlap_sync(site.files(), request());
    }

    proptest! {
        #[test]
        fn no_path_leads_out(path in "/(\\.|/|%2e|%2f|%00|%5c|[a-z%]|\u{e4}){0,12}", hidden: bool) {
            if let Some(path) = below_root(&path, hidden) {
                for segment in path.components() {
                    prop_assert!(matches!(segment, std::path::Component::Normal(_)), "{path:?}");
                }
                prop_assert!(!path.as_os_str().as_bytes().contains(&0));
            }
        }
    }
}
