//! The table of rules: everything that the lint looks at. Documentation, messages and [`explain`](crate::rule) are made of
//! it, and a test holds it against the specification.
//!
//! A rule is written once here and named by its constant where it is checked, so that a rule without a row does not
//! compile and a row without a check is dead code. The file is long because it says one thing many times.

use varvel_spec::{Level, ids};

use crate::{Party, Rule};

macro_rules! driver {
    () => {
        None
    };
    ($driver:literal) => {
        Some($driver)
    };
}

macro_rules! rules {
    ($($name:ident = $id:literal, $clause:ident, $party:ident, $level:ident: $text:literal, $remedy:literal
        $(, by $driver:literal)?;)*) => {
        /// All rules, in the order of the table.
        pub(crate) static RULES: &[Rule] = &[$(Rule {
            id: $id,
            clause: ids::$clause,
            binds: Party::$party,
            level: Level::$level,
            text: $text,
            remedy: $remedy,
            driver: driver!($($driver)?),
            index: Index::$name as usize,
        }),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Index { $($name),* }

        $(pub(crate) const $name: &Rule = &RULES[Index::$name as usize];)*
    };
}

rules! {
    // Applications

    A1_CALL = "A1.call", A1, Application, MustNot:
        "`AsyncApp::call` returns its future without blocking the thread.",
        "Move what blocks into the future, and there into `Worker::offload`.";
    A1_POLL = "A1.poll", A1, Application, MustNot:
        "A poll of the call's future takes less than 100 ms, in tests a second.",
        "Run what blocks or computes for long in `Worker::offload`, and wait with `Worker::sleep`.";
    A1_BODY = "A1.body", A1, Application, MustNot:
        "A poll of the response body takes less than 100 ms, in tests a second.",
        "Produce the frame in `Worker::offload`, and let the body wait for it.";
    A1_TUNNEL = "A1.tunnel", A1, Application, MustNot:
        "A poll of a tunnel's continuation takes less than 100 ms, in tests a second.",
        "Run what blocks in `Worker::offload`, or accept the upgrade with `accept_blocking` in a sync application.";
    A2_PANIC = "A2.panic", A2, Application, Must:
        "A call that overlaps another one does not panic for it.",
        "Do not hold a `RefCell` borrow across an await; keep state in a lock or per call, or ask for `Policy::exclusive`.", by "overlap";
    A2_STUCK = "A2.stuck", A2, Application, Must:
        "Calls that overlap all come to an end.",
        "Take locks in one order and hold none across an await, or ask for `Policy::exclusive`.", by "overlap";
    A2_ANSWER = "A2.answer", A2, Application, Must:
        "A call that overlaps another one has the answer that it has alone.",
        "Look for state that two calls share: a buffer, a connection, a counter; or ask for `Policy::exclusive`.", by "overlap";
    A3_CONNECTION = "A3.connection", A3, Application, MustNot:
        "A response has no Connection field.",
        "Leave it out: the server decides whether the connection stays.";
    A3_KEEP_ALIVE = "A3.keep-alive", A3, Application, MustNot:
        "A response has no Keep-Alive field.",
        "Leave it out: the server decides how long the connection stays.";
    A3_PROXY_CONNECTION = "A3.proxy-connection", A3, Application, MustNot:
        "A response has no Proxy-Connection field.",
        "Leave it out; when passing on another server's answer, remove all fields of its connection.";
    A3_TRANSFER_ENCODING = "A3.transfer-encoding", A3, Application, MustNot:
        "A response has no Transfer-Encoding field.",
        "Leave it out: the server frames the body, and hands it chunks of its own.";
    A3_UPGRADE = "A3.upgrade", A3, Application, MustNot:
        "A response has no Upgrade field unless it accepts an upgrade or has status 426.",
        "Leave it out, or answer with what `Upgrade::accept` returns.";
    A3_TRAILERS = "A3.trailers", A3, Application, MustNot:
        "Trailers have none of the fields that belong to the connection or to the head.",
        "Leave those named in A3 out of them: the server removes them, and nobody learns what they said.";
    A4_INFORMATIONAL = "A4.informational", A4, Application, Must:
        "The status of a response is not 1xx.",
        "Send interim heads with `Scope::interim`, and 101 with `Upgrade::accept`.";
    A4_RANGE = "A4.range", A4, Application, Must:
        "The status of a response is 599 at most.",
        "Use a status that is registered; the server answers 500 for this one.";
    A4_NO_CONTENT = "A4.no-content", A4, Application, Must:
        "A response with 204 has an empty body.",
        "Answer 200, or with an empty body; the server drops this one unread.";
    A4_RESET_CONTENT = "A4.reset-content", A4, Application, Must:
        "A response with 205 has an empty body.",
        "Answer 200, or with an empty body; the server sends this one without it.";
    A4_NOT_MODIFIED = "A4.not-modified", A4, Application, Must:
        "A response with 304 has an empty body.",
        "Give it an empty body; a Content-Length may stay and say what 200 would have sent.";
    A5_TWICE = "A5.twice", A5, Application, Must:
        "A response has at most one Content-Length.",
        "Use `HeaderMap::insert` instead of `append`, or leave it to the server.";
    A5_NUMBER = "A5.number", A5, Application, Must:
        "A Content-Length is one decimal number.",
        "Write digits alone, or leave it to the server.";
    A5_KNOWN = "A5.known", A5, Application, Must:
        "A Content-Length is the length of the body, where that is known beforehand.",
        "Leave it to the server, which knows the length of this body; correct it where the body is replaced.";
    A5_SHORT = "A5.short", A5, Application, Must:
        "A body produces as many bytes as its Content-Length says, and not fewer.",
        "Count what is written, or leave Content-Length out: the client takes this answer for a broken one.";
    A5_LONG = "A5.long", A5, Application, Must:
        "A body produces as many bytes as its Content-Length says, and not more.",
        "Count what is written, or leave Content-Length out: the server cuts this answer.";
    A5_PROMISE = "A5.promise", A5, Application, Must:
        "A body that states its exact length produces that many bytes.",
        "Correct what `exact_len` or `from_sized_writer` promise: the server makes a Content-Length of it.";
    A6_DROP = "A6.drop", A6, Application, Must:
        "Dropping a pending call or a body between two frames does not panic.",
        "Make destructors that tolerate every await as their last; a guard that insists on being closed does not.";
    A6_PANIC = "A6.panic", A6, Application, Must:
        "A call does not panic because an earlier one was dropped.",
        "Put state back in a destructor, not in the code behind an await that may never be reached.", by "cancel_everywhere";
    A6_STUCK = "A6.stuck", A6, Application, Must:
        "A call comes to an end though an earlier one was dropped.",
        "Free permits, locks and turns in a destructor, not in the code behind an await.", by "cancel_everywhere";
    A6_ANSWER = "A6.answer", A6, Application, Must:
        "A call has the same answer after an earlier one was dropped.",
        "Change shared state in one step without an await in between, or undo the half of it in a destructor.", by "cancel_everywhere";
    A7_SINK = "A7.sink", A7, Application, MustNot:
        "A sink that has returned an error is not used again.",
        "Return the error from the writer, with `?`.";
    A7_BODY = "A7.body", A7, Application, MustNot:
        "A request body that has failed is not pulled again.",
        "Return the error, or drop the body; `AsyncBody` and `ReadBody` see to it when they are not taken apart.";
    A8_TWICE = "A8.twice", A8, Application, Must:
        "A body produces trailers at most once.",
        "Gather the fields in one map and send it last.";
    A8_DATA = "A8.data", A8, Application, Must:
        "A body produces no data after its trailers.",
        "Send the trailers last.";
    A9_DESCRIPTORS = "A9.descriptors", A9, Application, ShouldNot:
        "Making a factory opens no socket, pipe or queue of events.",
        "Open it in `build`, which runs in the process and on the thread that will use it.", by "Lint::factory";
    A9_THREADS = "A9.threads", A9, Application, ShouldNot:
        "Making a factory starts no thread.",
        "Start it in `build`: a thread does not survive a fork.", by "Lint::factory";
    A10_PANIC = "A10.panic", A10, Application, Must:
        "A call does not panic for want of a capability.",
        "Handle the `None` or `Err` by which an absent capability answers; do not unwrap it.", by "without_each_capability";
    A10_FAILURE = "A10.failure", A10, Application, Must:
        "A call does not fail for want of a capability.",
        "Answer 501 or in a poorer form, or refuse in `build` with an error that names the capability.", by "without_each_capability";
    A10_STUCK = "A10.stuck", A10, Application, Must:
        "A call does not wait for ever for want of a capability.",
        "Do not wait for what only the capability brings about, such as a disconnect.", by "without_each_capability";
    A10_BUILD = "A10.build", A10, Application, Must:
        "A `build` that fails for want of a capability names it.",
        "Write the name of the capability, such as `OFFLOAD`, into the `StartError`.", by "without_each_capability";
    U7_SWITCHING = "U7.switching", U7, Application, Must:
        "A response has status 101 only if it was made by an upgrade's token.",
        "Answer with what `Upgrade::accept` returns; the server sends 500 for this.";
    U7_CONNECT = "U7.connect", U7, Application, Must:
        "A response to CONNECT has status 2xx only if it was made by an upgrade's token.",
        "Answer with what `Upgrade::accept` returns, or with an error status.";

    // Middleware

    M1_LOST = "M1.lost", M1, Middleware, Must:
        "The inner application gets the scope that the middleware was given, with its entries.",
        "Hand `scope` on by value; do not make another with `Scope::new` or `Scope::for_test`.";
    M1_MOVED = "M1.moved", M1, Middleware, Must:
        "The inner application gets the scope of the same exchange.",
        "Hand on the scope that came with this request, not one that was kept.";
    M2_HELD = "M2.held", M2, Middleware, MustNot:
        "What the inner body has produced goes on before the middleware waits.",
        "Pass on, or flush, what is gathered whenever the inner body is pending.";
    M2_FLUSH = "M2.flush", M2, Middleware, MustNot:
        "A flush by the inner writer reaches the sink, with everything written before it.",
        "In `FrameSink::flush`, write out what is gathered and flush the outer sink.";
    M3_TRAILERS = "M3.trailers", M3, Middleware, Must:
        "Trailers of a body that is passed on are passed on.",
        "Let every frame that is not data through.";
    M3_TUNNEL = "M3.tunnel", M3, Middleware, Must:
        "A tunnel is passed on with its response.",
        "Change bodies with `Body::map_stream`, which leaves tunnels alone.";
    M3_DEFERRAL = "M3.deferral", M3, Middleware, Must:
        "The placeholder of a deferred reply is passed on or replaced, not written.",
        "Change bodies with `Body::map_stream`, which leaves placeholders alone.";
    M4_LENGTH = "M4.length", M4, Middleware, Must:
        "A middleware that changes a body corrects or removes Content-Length.",
        "Remove Content-Length where the body's length changes; and keep `exact_len` true.";
    M4_HEAD_STATUS = "M4.head-status", M4, Middleware, Must:
        "HEAD gets the status that GET gets.",
        "Do not ask for the method where the body is concerned: the server omits it.", by "middleware";
    M4_HEAD_FIELDS = "M4.head-fields", M4, Middleware, Must:
        "HEAD gets the fields and the length of body that GET gets.",
        "Treat the body of an answer to HEAD as that of GET: the server omits it, unread.", by "middleware";
    M5_FUTURE = "M5.future", M5, Middleware, Must:
        "Dropping the middleware's future drops the inner call at once.",
        "Keep the inner future inside your own; do not spawn it.";
    M5_BODY = "M5.body", M5, Middleware, Must:
        "Dropping the middleware's body drops the inner body at once.",
        "Keep the inner body inside your own; do not hand it to a task or a thread.";
    M6_KIND = "M6.kind", M6, Middleware, Must:
        "An error of the inner application that is not handled keeps its kind.",
        "Return the `AppError` itself, with `?`.";
    M6_SOURCE = "M6.source", M6, Middleware, Must:
        "An error of the inner application that is not handled keeps its source.",
        "Return the `AppError` itself, or wrap its source in one that names it as its own source.";
    M8_BOUNDARY = "M8.boundary", M8, Middleware, Must:
        "The mount ends at a `/` of the path or at its end.",
        "Do not rewrite the part of the path that the mount covers; `Scope::descend` checks the place.";
    M8_LOST = "M8.lost", M8, Middleware, Must:
        "The inner mount begins with the outer one.",
        "Rewrite the URI behind the mount only: what it covers is the way by which the request came.";
    M9_DEFERRED = "M9.deferred", M9, Middleware, Must:
        "A deferred answer gets the status and the fields that the same answer gets at once.",
        "Change what a sync application answers with `varvel::map_answer`.", by "middleware_sync";
    B10_SWALLOWED = "B10.swallowed", B10, Middleware, Must:
        "A body whose inner body failed does not end as if it were complete.",
        "Pass the `BodyError` on as the last item.";

    // Servers, and whatever stands in for one

    S1_THREAD = "S1.thread", S1, Server, Must:
        "On an event loop all calls are made and polled on the thread that built the application.",
        "Build each worker's application on the thread of its loop, and keep it there.";
    S1_WORKER = "S1.worker", S1, Server, Must:
        "An application is called with the scope of the worker that built it.",
        "Give each worker the value of its own build.";
    S1_TWICE = "S1.twice", S1, Server, Must:
        "A worker's application is built once.",
        "Build again only for a worker that replaces one whose application was torn down.";
    S3_ORDER = "S3.order", S3, Server, Must:
        "The exchanges of a connection are called once each, in the order of their numbers.",
        "Number exchanges from 1 as they begin, and make one call for each.";
    S3_OVERLAP = "S3.overlap", S3, Server, Must:
        "A call on an HTTP/1 connection begins when the body of the answer before it has ended.",
        "Poll that body to its end, or drop it, before the next call.";
    S6_FORM = "S6.form", S6, Server, Must:
        "The request's URI has no scheme or authority, but for the authority of CONNECT.",
        "Take scheme and authority off an absolute-form target; the scope has them.";
    S6_PATH = "S6.path", S6, Server, Must:
        "The request's path begins with `/`, or is `*` with OPTIONS.",
        "Deliver `/` for an absolute-form target with an empty path; refuse all else.";
    S6_FRAGMENT = "S6.fragment", S6, Server, Must:
        "A target with a `#` is refused.",
        "Answer 400 without a call.";
    S6_SCHEME = "S6.scheme", S6, Server, Must:
        "A target in absolute form has the scheme http or https.",
        "Answer 400 without a call.";
    S7_TARGET = "S7.target", S7, Server, Must:
        "The raw target and the URI name the same path and query.",
        "Deliver path and query as they stood in the request line, nothing decoded or normalised.";
    S8_AUTHORITY = "S8.authority", S8, Server, Must:
        "The scope's authority is the target's, or else that of Host.",
        "Take it from the absolute or authority form first, then from Host; none if that is empty.";
    S9_WHITESPACE = "S9.whitespace", S9, Server, Must:
        "A field value has no whitespace around it.",
        "Trim spaces and tabs around the value, and nothing else.";
    S10_TRANSFER_ENCODING = "S10.transfer-encoding", S10, Server, MustNot:
        "Transfer-Encoding is not among the request's fields.",
        "Remove it once the body is decoded.";
    S11_LENGTH = "S11.length", S11, Server, Must:
        "The exact length of an untouched request body is that of its Content-Length.",
        "State n with a Content-Length of n, 0 without a body, nothing if it is chunked.";
    S11_REMAINING = "S11.remaining", S11, Server, Must:
        "The exact length of a request body goes down by what was delivered.",
        "Subtract each frame of data from it.";
    S12_ADDRESSES = "S12.addresses", S12, Server, Must:
        "Both ends of a connection have addresses of one kind.",
        "Describe the accepted socket, not what a proxy said.";
    S13_CONCURRENCY = "S13.concurrency", S13, Server, MustNot:
        "No more calls run at once than the worker's `concurrency` says.",
        "Count a call until its future and its body are done.";
    S13_EXCLUSIVE = "S13.exclusive", S13, Server, MustNot:
        "With an exclusive policy calls never overlap.",
        "Begin a call when the one before it, with its body, is done.";
    S15_COUNT = "S15.count", S15, Server, Must:
        "A request has no more fields than `header_count_max` says.",
        "Answer 431 beyond it.";
    S15_BYTES = "S15.bytes", S15, Server, Must:
        "A request's head has no more bytes than `head_bytes_max` says.",
        "Answer 414 or 431 beyond it.";
    S18_WORKERS = "S18.workers", S18, Server, Must:
        "A worker's index is below the number of workers, and calls may run on it.",
        "Count workers from 0, and do not state a concurrency of 0.";
    S18_CHANGED = "S18.changed", S18, Server, Must:
        "A worker says the same of itself when it builds and when it calls.",
        "Fill in `WorkerInfo` before `build`, and leave it.";
    S18_ONE_SHOT = "S18.one-shot", S18, Server, Must:
        "An application whose lifetime is `OneShot` is called once.",
        "State `Pooled` or `Resident`.";
    S19_VERSION = "S19.version", S19, Server, Must:
        "The request's version is HTTP/1.0, HTTP/1.1, or HTTP/2 and above.",
        "Deliver a higher minor version of HTTP/1 as 1.1, and refuse HTTP/0.9.";
    S20_MISSING = "S20.missing", S20, Server, Must:
        "An HTTP/1.1 request has a Host field.",
        "Answer 400 without a call.";
    S20_TWICE = "S20.twice", S20, Server, Must:
        "A request has one Host field at most.",
        "Answer 400 without a call.";
    S20_VALUE = "S20.value", S20, Server, Must:
        "The value of Host is empty or an authority without userinfo.",
        "Answer 400 without a call.";
    S21_BODY = "S21.body", S21, Server, MustNot:
        "A request body that had not ended gives an error once its exchange is over.",
        "Tie the body to the number of its exchange.";
    S21_INTERIM = "S21.interim", S21, Server, MustNot:
        "No interim head is sent for an exchange that is over.",
        "Compare the exchange's number, and return `TooLate`.";
    S23_VERSION = "S23.version", S23, Server, Must:
        "What is known of TLS has the registered numbers of a version and a cipher suite.",
        "Fill in 0x0303 for TLS 1.2, 0x0304 for 1.3, and the suite that was agreed upon.";
    H1_POLLED = "H1.polled", H1, Server, Must:
        "The body of an answer to HEAD is dropped untouched.",
        "Do not poll it, read it, or run its writer.";
    H2_POLLED = "H2.polled", H2, Server, MustNot:
        "The body of a 204 or 304 is dropped untouched.",
        "Do not poll it, read it, or run its writer.";
    H8_LENGTH = "H8.length", H8, Server, Must:
        "A request has one Content-Length at most, a plain decimal number, and none with CONNECT.",
        "Answer 400 without a call, and close.";
    H12_VERSION = "H12.version", H12, Server, Must:
        "To an HTTP/1.0 client no interim head is sent.",
        "Return `Unsupported`.";
    H12_STATUS = "H12.status", H12, Server, Must:
        "An interim head with 100 or 102 to 199 is not refused for its status.",
        "Return `NotInterim` for other statuses only.";
    B1_LONG = "B1.long", B1, Server, Must:
        "A request body has no more data than its Content-Length says.",
        "What follows the body is the next request.";
    B1_RESUMED = "B1.resumed", B1, Server, Must:
        "A request body that has ended stays ended.",
        "Report the end again at each later pull.";
    B2_SHORT = "B2.short", B2, Server, Must:
        "A request body with less data than its Content-Length says fails with Incomplete.",
        "Tell the end of the connection from the end of the body.";
    B3_LIMIT = "B3.limit", B3, Server, Must:
        "A request body beyond `body_bytes_max` fails with TooLarge.",
        "Count the decoded bytes, also of chunks.";
    B4_ORDER = "B4.order", B4, Server, Must:
        "The trailers of a request come after all of its data.",
        "Deliver them as the last frame.";
    B4_TWICE = "B4.twice", B4, Server, Must:
        "The trailers of a request come as one frame.",
        "Gather the fields in one map.";
    B12_ENDED = "B12.ended", B12, Server, MustNot:
        "A response body that has ended is not polled.",
        "Drop the body at its end.";
    B12_FAILED = "B12.failed", B12, Server, MustNot:
        "A response body that has failed is not polled.",
        "Drop the body at its first error.";
    B12_TRAILERS = "B12.trailers", B12, Server, MustNot:
        "A response body that has produced its trailers is not polled.",
        "Drop the body behind its trailers: they are its end.";
    B12_FUTURE = "B12.future", B12, Server, MustNot:
        "A call that has completed is not polled.",
        "Drop the future when it is ready.";
    E2_ANSWERED = "E2.answered", E2, Server, Must:
        "After Abort nothing is answered.",
        "Close the connection, or reset the stream, without a head.";
    E3_STATUS = "E3.status", E3, Server, Must:
        "An error of the call is answered with the status of its kind.",
        "Follow the table of chapter E.";
    E8_ORDER = "E8.order", E8, Server, Must:
        "When the client is gone, future and body are dropped before the hooks run.",
        "Drop them first, as the table of chapter E says.";
    E10_FUTURE = "E10.future", E10, Server, Must:
        "With policy Finish a call is polled to its end, whoever has left.",
        "Go on polling, and discard the answer.";
    E10_BODY = "E10.body", E10, Server, Must:
        "With policy Finish a body is polled to its end, whoever has left.",
        "Go on polling, and discard the frames.";
    E12_NEVER = "E12.never", E12, Server, Must:
        "A hook given to `on_finish` runs.",
        "Run the hooks of an exchange on every path by which it ends.";
    E12_EARLY = "E12.early", E12, Server, Must:
        "The hooks run when the exchange has finished.",
        "Run them when the answer was handed to the transport or given up.";
    E12_STATUS = "E12.status", E12, Server, Must:
        "The hooks are told the status that was sent.",
        "Keep the status of the head that went out.";
    E12_BYTES = "E12.bytes", E12, Server, Must:
        "The hooks are told how many bytes of the body were sent.",
        "Count data bytes as they go to the transport, without the framing.";
    E12_OUTCOME = "E12.outcome", E12, Server, Must:
        "The hooks are told how the exchange ended.",
        "`Completed` is for answers that went out entire, `Failed` for those that did not.";
    E16_FINISHED = "E16.finished", E16, Server, Must:
        "Of an exchange that is over its watch says that the client is gone.",
        "Compare the exchange's number with that of the current one.";
    L5_RUNNING = "L5.running", L5, Server, Must:
        "Teardown begins when no call and no body runs any more.",
        "Wait for them, or drop them at the deadline, before teardown.";
    L5_HOOKS = "L5.hooks", L5, Server, Must:
        "Teardown begins when all hooks have run.",
        "Run the hooks of what was dropped at the deadline before teardown.";
    L7_DISAGREE = "L7.disagree", L7, Server, Must:
        "When `poll_stopping` is ready, `is_stopping` is true.",
        "Raise the signal before waking who waits for it.";
    L8_OUTCOME = "L8.outcome", L8, Server, Must:
        "The outcome Stopped is told during a stop only.",
        "Tell a client that was too slow from a server that had no more time.";
    U1_UNASKED = "U1.unasked", U1, Server, Must:
        "There is an upgrade's token only if the request asks for an upgrade.",
        "Demand HTTP/1.1, Connection with `upgrade`, a protocol, and no body; or CONNECT.";
    U1_MISSING = "U1.missing", U1, Server, Must:
        "There is an upgrade's token if the request asks for an upgrade that the server can give.",
        "Put the token in with `Scope::with_upgrade`.";
    U1_PROTOCOLS = "U1.protocols", U1, Server, Must:
        "The token offers the protocols of the Upgrade fields, in their order.",
        "Make the offer of all Upgrade lines.";
    U5_RESUMED = "U5.resumed", U5, Server, Must:
        "A tunnel whose reading has ended reads nothing more.",
        "Return 0 again at each later read.";
    X2_H2 = "X2.h2", X2, Server, Must:
        "Without H2 no request comes over HTTP/2.",
        "Advertise H2.";
    X2_TLS = "X2.tls", X2, Server, Must:
        "Without TLS no connection is said to be secure.",
        "Advertise TLS; `is_secure` is about the last hop and not about a proxy's.";
    X2_UPGRADE = "X2.upgrade", X2, Server, Must:
        "Without the capability there is no token for such an upgrade.",
        "Advertise UPGRADE, CONNECT or EXT_CONNECT, or put in no token.";
    X2_DEFERRAL = "X2.deferral", X2, Server, Must:
        "Without DEFER there is no deferral in the scope.",
        "Advertise DEFER, or leave `Scope::with_deferral`.";
    X2_TRAILERS = "X2.trailers", X2, Server, Must:
        "Without TRAILERS_IN request trailers are dropped.",
        "Advertise TRAILERS_IN, or deliver none.";
    X2_INTERIM = "X2.interim", X2, Server, Must:
        "Without INTERIM an interim head is refused.",
        "Advertise INTERIM, or return `Unsupported`.";
    X2_OFFLOAD = "X2.offload", X2, Server, Must:
        "Without OFFLOAD a job is given back.",
        "Advertise OFFLOAD, or return the job.";
    X2_SPAWN = "X2.spawn", X2, Server, Must:
        "Without SPAWN a task is given back.",
        "Advertise SPAWN, or return the task.";
    X6_VERSION = "X6.version", X6, Server, Must:
        "A worker states a version of the specification that this crate knows.",
        "Leave `WorkerInfo::spec` as `WorkerInfo::new` made it.";
    W2_DROPPED = "W2.dropped", W2, Server, Must:
        "A spawned task is polled until it completes, unless the server stops.",
        "Keep tasks that were accepted with the worker, not with the request.";
    W3_THREAD = "W3.thread", W3, Server, MustNot:
        "A job does not run on the thread of the event loop.",
        "Run it on the blocking pool, or give it back.";
    W3_LOST = "W3.lost", W3, Server, MustNot:
        "A job that was accepted runs.",
        "Give it back if the pool takes no more.";
    W8_MISSING = "W8.missing", W8, Server, Must:
        "With DEFER a sync call finds a deferral in its scope.",
        "Put it in with `Scope::with_deferral`.";
}
