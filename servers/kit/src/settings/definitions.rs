//! The settings themselves. A long file that says one thing many times.
//!
//! Each entry is its documentation (which is also its help text), the field with its type and the kind of its
//! text, the default, the name, and a precedent.

use std::path::PathBuf;
use std::time::Duration;

use super::Setting;
use super::value::*;
use crate::access_log::Format;
use crate::listener::BindAddress;

macro_rules! define {
    ($(
        $(#[doc = $line:literal])+
        $field:ident: $type:ty as $kind:ident = $default:expr, $name:literal, $precedent:literal;
    )+) => {
        /// All settings, typed. See [`describe`](super::describe) for their texts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Settings {
            $(
                $(#[doc = $line])+
                #[doc = ""]
                #[doc = concat!("Name: `", $name, "`. Precedent: ", $precedent, ".")]
                pub $field: $type,
            )+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        pub(super) static ALL: &[Setting] = &[$(
            Setting {
                name: $name,
                unit: $kind::UNIT,
                precedent: $precedent,
                lines: &[$($line),+],
                set: |settings, text| {
                    settings.$field = $kind::parse(text)?;
                    Ok(())
                },
                show: |settings| $kind::show(&settings.$field),
            }
        ),+];
    };
}

define! {
    /// Where to listen.
    ///
    /// One or more addresses, separated by commas: `HOST:PORT`, `:PORT` for every interface, `[IPv6]:PORT`,
    /// `unix:PATH`, or `fd:NUMBER` for a socket that was passed in. The default serves this machine alone; if a service
    /// manager has passed sockets (LISTEN_FDS), these are the default.
    bind: Vec<BindAddress> as Addresses = vec![BindAddress::Tcp(([127, 0, 0, 1], 8000).into())],
        "bind", "gunicorn, uvicorn, hypercorn 127.0.0.1:8000";

    /// Connections that the kernel accepts in advance.
    ///
    /// Beyond, clients wait a second and more before they try again. The kernel cuts it at net.core.somaxconn.
    backlog: u32 as Positive = 2048,
        "backlog", "gunicorn, uvicorn 2048, nginx 511";

    /// Whether other processes may listen at the same address.
    ///
    /// The kernel then spreads new connections over the processes of the same user, by chance: a few that last long may be
    /// spread badly, and some wait for a busy process while another is free. Without, workers of one server share them out
    /// evenly. A process that is stopped loses none, but new ones may take a second to reach the others just then; a restart
    /// that nobody must notice passes its socket on instead (`--bind fd:3`).
    reuse_port: bool as Switch = false,
        "reuse-port", "nginx reuseport, gunicorn --reuse-port, off";

    /// Permissions of the files of Unix sockets, in octal.
    ///
    /// By default what the umask leaves.
    unix_mode: Option<u32> as FileMode = None,
        "unix-mode", "puma ?umask=, uWSGI chmod-socket";

    /// Connections that are open at the same time.
    ///
    /// Beyond, new ones wait in the kernel's queue until one closes; event loops that accept at the same instant may each take
    /// one more. Each takes a descriptor. A program raises its soft limit (ulimit -Sn) by itself; where the hard one
    /// (ulimit -Hn) is too low it says so, and serves fewer.
    max_connections: Option<u32> as CountLimit = Some(65_536),
        "max-connections", "actix-web 25000 per worker, nginx worker_connections 512";

    /// Threads of the threaded server.
    ///
    /// As many calls of the application run at the same time. Threads start when needed; idle connections need none.
    threads: u32 as Positive = 200,
        "threads", "Tomcat maxThreads 200, Jetty 200";

    /// Event loops of the evented server.
    ///
    /// By default one per processor that the process may use.
    loops: Option<u32> as AutoCount = None,
        "loops", "nginx worker_processes auto, actix-web one per core";

    /// Worker processes of the pre-fork server.
    ///
    /// By default one per processor that the process may use. TTIN and TTOU change it while it runs.
    workers: Option<u32> as AutoCount = None,
        "workers", "gunicorn --workers, puma WEB_CONCURRENCY";

    /// Time without a sign of progress after which a worker process is killed and replaced.
    ///
    /// A worker gets on while its event loops turn, or while threads of its pool become free. The log says which requests it
    /// was at. `off` lets it hang.
    worker_timeout: Duration as Timeout = Duration::from_secs(30),
        "worker-timeout", "gunicorn --timeout 30s, puma worker_timeout 60s";

    /// Time for a worker process to build its application.
    ///
    /// Beyond, it counts as one that failed.
    worker_start_timeout: Duration as Timeout = Duration::from_secs(60),
        "worker-start-timeout", "puma worker_boot_timeout 60s";

    /// Requests after which a worker process is replaced.
    ///
    /// For applications that leak. Its replacement serves before it goes, and it finishes what it has begun.
    max_requests: Option<u32> as CountLimit = None,
        "max-requests", "gunicorn --max-requests, off";

    /// Up to so many requests more, by chance, so that workers do not go at the same time.
    max_requests_jitter: u32 as Count = 0,
        "max-requests-jitter", "gunicorn --max-requests-jitter";

    /// Time after which a worker process is replaced, and up to a tenth more, by chance.
    max_lifetime: Duration as Timeout = Duration::MAX,
        "max-lifetime", "uWSGI max-worker-lifetime, granian --workers-lifetime";

    /// Memory of a worker process beyond which it is replaced.
    ///
    /// What it occupies of the machine's (RSS), looked at once a second.
    max_memory: Option<u64> as BytesLimit = None,
        "max-memory", "uWSGI reload-on-rss, granian --workers-max-rss";

    /// User that worker processes run as: a name or a number.
    ///
    /// Only for the pre-fork server. The supervisor stays who it is, so it can listen at any port; workers change before they
    /// run anything of the application. Names are looked up in /etc/passwd, and their groups in /etc/group. By default
    /// workers run as who started the program.
    user: Option<String> as Name = None,
        "user", "gunicorn --user, uWSGI uid, nginx user";

    /// Group that worker processes run as: a name or a number.
    ///
    /// Only for the pre-fork server. By default that of the user.
    group: Option<String> as Name = None,
        "group", "gunicorn --group, uWSGI gid";

    /// Threads for blocking work of evented applications.
    ///
    /// They start when needed and end when idle.
    offload_threads: u32 as Positive = 64,
        "offload-threads", "anyio 40, tokio 512";

    /// Blocking jobs that may wait for a thread.
    ///
    /// Beyond, the server answers 503.
    offload_queue: u32 as Count = 1024,
        "offload-queue", "tokio, waitress unbounded";

    /// Time for the whole head of a request, from its first byte.
    ///
    /// For the first request, from the start of the connection. Beyond: 408. A byte now and then renews nothing.
    head_timeout: Duration as Timeout = Duration::from_secs(30),
        "head-timeout", "Kestrel, puma 30s, nginx 60s";

    /// Time between the end of an answer and the next request.
    ///
    /// Beyond: the connection closes. A proxy in front should give up sooner, or it sends requests to connections that
    /// are just closing.
    keep_alive_timeout: Duration as Timeout = Duration::from_secs(75),
        "keep-alive-timeout", "nginx 75s, puma 65s, node 5s";

    /// Time without a byte of the request's body while the server waits for one.
    ///
    /// Beyond: 408, or the connection closes if an answer has begun.
    body_timeout: Duration as Timeout = Duration::from_secs(30),
        "body-timeout", "nginx client_body_timeout 60s, Apache 20s";

    /// Least bytes per second of a request's body.
    ///
    /// A sender may be body-timeout behind this pace. 0 turns it off.
    body_rate_min: u32 as Count = 240,
        "body-rate-min", "Kestrel MinRequestBodyDataRate 240";

    /// Time without the client taking a byte of the answer.
    ///
    /// Beyond: the connection closes.
    write_timeout: Duration as Timeout = Duration::from_secs(30),
        "write-timeout", "nginx send_timeout 60s";

    /// Least bytes per second that the client takes of an answer.
    ///
    /// A reader may be write-timeout behind this pace. 0 turns it off.
    write_rate_min: u32 as Count = 240,
        "write-rate-min", "Kestrel MinResponseDataRate 240";

    /// Time for a client that is still sending to close after the last answer.
    ///
    /// Closing at once could destroy the answer on its way (RFC 9112 section 9.6).
    linger_timeout: Duration as Timeout = Duration::from_secs(5),
        "linger-timeout", "nginx lingering_timeout 5s";

    /// Time for running requests to finish after a graceful stop was asked for.
    ///
    /// Beyond: they are cut. Make it shorter than what the supervisor allows (Kubernetes 30s, systemd 90s).
    drain_timeout: Duration as Time = Duration::from_secs(30),
        "drain-timeout", "gunicorn graceful_timeout, actix-web 30s";

    /// Time between the stop signal and the refusal of new connections.
    ///
    /// For load balancers that learn late that an instance leaves; during it the server works as usual.
    lame_duck_delay: Duration as Time = Duration::ZERO,
        "lame-duck-delay", "Caddy shutdown_delay";

    /// Bytes of the request line.
    ///
    /// Beyond: 414.
    request_line_bytes_max: u32 as Bytes32 = 8 << 10,
        "request-line-bytes-max", "Apache LimitRequestLine 8190, nginx 8k";

    /// Bytes of the whole head of a request.
    ///
    /// Beyond: 431.
    head_bytes_max: u32 as Bytes32 = 64 << 10,
        "head-bytes-max", "nginx 32k, node 16k, Go 1MiB";

    /// Header fields of a request.
    ///
    /// Beyond: 431. More than 24,576 different names are refused whatever is set.
    header_count_max: u32 as Positive = 100,
        "header-count-max", "Apache LimitRequestFields, hyper, gunicorn 100";

    /// Bytes of a request's body.
    ///
    /// Beyond: 413. Off by default: the body passes through, and only the application knows how long it may be.
    body_bytes_max: Option<u64> as BytesLimit = None,
        "body-bytes-max", "Go, hyper, node none, nginx 1MiB";

    /// Bytes of a request's body that are taken from the client before the application asks for them.
    ///
    /// Beyond: the client has to wait. Bytes that the application keeps hold on to what was read with them, in up to four
    /// times as much memory.
    read_ahead: u64 as Bytes = 128 << 10,
        "read-ahead", "uvicorn 64KiB high-water mark, hyper 408KiB";

    /// Bytes of an answer that wait for the client before the application has to wait.
    write_high_water: u64 as Bytes = 64 << 10,
        "write-high-water", "asyncio 64KiB";

    /// Whether and how to write a line for each request to standard output.
    ///
    /// `combined` is Apache's format with the duration in microseconds at the end, `json` an object per line.
    access_log: Option<Format> as LogFormat = None,
        "access-log", "gunicorn off, uvicorn on, Caddy json";

    /// File that standard output goes to, and so the access log; `-` leaves it where it is.
    ///
    /// Lines are appended. SIGUSR1 has it opened anew, after it was moved away.
    access_log_file: Option<PathBuf> as LogTarget = None,
        "access-log-file", "gunicorn --access-logfile, nginx access_log";

    /// File that standard error goes to, and so what the server says; `-` leaves it where it is.
    ///
    /// Lines are appended. SIGUSR1 has it opened anew, after it was moved away. What keeps the program from listening is still
    /// told where standard error was before.
    log_file: Option<PathBuf> as LogTarget = None,
        "log-file", "gunicorn --error-logfile, nginx error_log";

    /// File that names the process: the supervisor, if there is one.
    ///
    /// Written at the start and removed in the end. A file that names another process that is running is left alone, and
    /// the program does not start. By default there is none (`off`).
    pid_file: Option<PathBuf> as OptionalPath = None,
        "pid-file", "gunicorn --pid, nginx pid";
}
