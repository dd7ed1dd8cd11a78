//! The faults of the reference server: one thing it does wrong each, for a check to catch.

/// One thing that the reference server can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    // S: calls and requests.
    /// Builds an application for every connection (S1).
    BuildPerConnection,
    /// Makes two calls for every request and answers with the second (S3).
    CallTwice,
    /// Answers two pipelined requests in the wrong order (S3).
    AnswersSwapped,
    /// Forgets what was pipelined behind a request (S3).
    PipelinedLost,
    /// Calls the application for a request that it then refuses (S4).
    CallDespiteRefusal,
    /// Keeps a connection open after refusing a malformed request, and serves what follows (S4).
    ServesBehindRefusal,
    /// Delivers the method in upper case (S5).
    MethodUppercased,
    /// Answers 501 to methods that it does not know (S5).
    MethodUnknownRefused,
    /// Resolves dot segments and repeated slashes (S6).
    PathNormalised,
    /// Decodes percent-encoding (S6).
    PathDecoded,
    /// Drops an empty query (S6).
    EmptyQueryDropped,
    /// Cuts a fragment off instead of refusing the request (S6).
    FragmentCutOff,
    /// Gives path and query as the raw target of an absolute form (S7).
    RawTargetRebuilt,
    /// Takes the authority from Host even if the target has one (S8).
    AuthorityFromHost,
    /// Joins field lines of the same name with a comma (S9).
    FieldsJoined,
    /// Keeps the whitespace behind a value (S9).
    ValueUntrimmed,
    /// Refuses bytes above 0x7F in values (S9).
    HighBytesRefused,
    /// Delivers Transfer-Encoding (S10).
    CodingDelivered,
    /// Adds a field to each request (S10).
    FieldAdded,
    /// Drops Connection from requests (S10).
    ConnectionFieldDropped,
    /// Does not tell the length of a body that has one (S11).
    LengthUntold,
    /// Says that a chunked body is of length 0 (S11).
    ChunkedSaidEmpty,
    /// Takes the peer's address from X-Forwarded-For (S12).
    ForwardedBelieved,
    /// Says `concurrency: Some(1)` and lets calls overlap (S13).
    ConcurrencyUnderstated,
    /// Lets calls overlap although the policy is exclusive (S13).
    ExclusiveIgnored,
    /// Serves no other connection while one call runs (S14).
    OneCallAtATime,
    /// Has no bound on heads (S15).
    HeadUnbounded,
    /// Dies of 70,000 fields: closes without an answer (S15).
    ManyFieldsFatal,
    /// Answers 400 to heads that are too large (S15).
    LargeHeadMisnamed,
    /// Accepts any number of connections (S16).
    ConnectionsUnbounded,
    /// Cuts running calls off as soon as it is stopped (S17).
    StopCutsCalls,
    /// Accepts connections while it is stopping (S17).
    StopKeepsAccepting,
    /// Leaves idle connections open while it is stopping (S17).
    StopLeavesIdle,
    /// Keeps a connection open after the exchange that ran when it was stopped (S17).
    StopKeepsConnections,
    /// Advertises other limits than it keeps (S18).
    LimitsUntrue,
    /// Says that there are more workers than it has built (S18).
    WorkersOverstated,
    /// Delivers every request as HTTP/1.1 (S19).
    VersionUntold,
    /// Takes requests without Host (S20).
    HostMissingAccepted,
    /// Takes two Host lines (S20).
    HostTwiceAccepted,
    /// Takes any value of Host (S20).
    HostUnchecked,
    /// Lets a handle of an earlier exchange write an interim head into a later one (S21).
    StaleHandleActs,
    /// Lets every byte renew the time for the head (S22).
    HeadTimeRenewed,
    /// Waits for ever for the rest of a head (S22).
    HeadTimeUnbounded,
    /// Keeps idle connections for ever (S22).
    IdleTimeUnbounded,
    /// Waits for ever for the rest of a request body (S22).
    BodyTimeUnbounded,
    /// Waits for ever for a client that does not read (S22).
    WriteTimeUnbounded,

    // H: HTTP.
    /// Sends the body in answer to HEAD (H1).
    HeadWithBody,
    /// Leaves out the framing fields in answer to HEAD (H1).
    HeadWithoutFraming,
    /// Polls or runs the body in answer to HEAD, and discards what comes (H1).
    HeadPolls,
    /// Sends a body with 204 and 304 (H2).
    BodilessWithBody,
    /// Sends Content-Length with 204 (H2).
    NoContentWithLength,
    /// Sends Transfer-Encoding with 304 (H2).
    NotModifiedChunked,
    /// Polls or runs the body of a 204, and discards what comes (H2).
    BodilessPolls,
    /// Sends chunks to HTTP/1.0 (H3).
    ChunkedToOld,
    /// Sends bodies of known length in chunks (H3).
    KnownLengthChunked,
    /// Sends no framing field with an empty body (H3).
    EmptyUnframed,
    /// Sends what exceeds the declared length (H4).
    ExcessSent,
    /// Ends an answer that is too short as if it were complete, and keeps the connection open (H4).
    ShortageHidden,
    /// Does not report a wrong length (H4).
    WrongLengthUnreported,
    /// Sends a Content-Length that is no number as it was given (H4).
    BadLengthSent,
    /// Sends the application's connection fields (H5).
    ConnectionFieldsSent,
    /// Removes them without a report (H5).
    ConnectionFieldsUnreported,
    /// Adds no Date (H6).
    DateMissing,
    /// Adds a Date beside the application's (H6).
    DateDoubled,
    /// Keeps a connection open although the client said `close` (H7).
    CloseIgnored,
    /// Knows `close` only if it is all of one Connection field, in lower case (H7).
    CloseComparedWhole,
    /// Serves what is pipelined behind a request with `close` (H7).
    ServesBehindClose,
    /// Closes without having said so (H7).
    CloseUnsaid,
    /// Keeps HTTP/1.0 connections open that did not ask for it (H7).
    OldKeptAlive,
    /// Keeps HTTP/1.0 connections open without saying so (H7).
    KeepAliveUnsaid,
    /// Ignores that the application asks for `close` (H7).
    ApplicationCloseIgnored,
    /// Takes Content-Length beside Transfer-Encoding (H8).
    LengthBesideCoding,
    /// Takes the first of several Content-Length, and of a list (H8).
    LengthRepeated,
    /// Takes lengths with signs, spaces, prefixes and overflow (H8).
    LengthLenient,
    /// Takes any Transfer-Encoding in which `chunked` occurs, and on HTTP/1.0 too (H8).
    CodingLenient,
    /// Takes folded field lines and whitespace ahead of colons (H8).
    FoldsAccepted,
    /// Takes chunk sizes with signs and prefixes, and any chunk end (H8).
    ChunkLenient,
    /// Sends 100 as soon as the head is read (H9).
    ContinueEager,
    /// Never sends 100 (H9).
    ContinueNever,
    /// Sends 100 to HTTP/1.0 too (H9).
    ContinueToOld,
    /// Sends 100 although the body has arrived (H9).
    ContinueSuperfluous,
    /// Waits for the body that the client withholds (H10).
    ExpectedBodyAwaited,
    /// Does not say that it closes then (H10).
    ExpectedCloseUnsaid,
    /// Ignores a 100 that the application sends (H11).
    ContinueOnDemandIgnored,
    /// Sends a second 100 at the pull after it (H11).
    ContinueTwice,
    /// Keeps interim heads back until the final one (H12).
    InterimWithheld,
    /// Sends interim heads to HTTP/1.0 (H12).
    InterimToOld,
    /// Says that an interim head was sent when it was too late (H12).
    InterimTooLateUntold,
    /// Drops the fields of interim heads (H12).
    InterimWithoutFields,
    /// Takes unread bytes of a request body for the next request (H13).
    UnreadParsed,
    /// Reads and discards any amount of unread body (H13).
    UnreadUnbounded,
    /// Changes the bytes of an answer (H14).
    ContentAltered,
    /// Adds Content-Encoding to an answer whose client accepts gzip (H14).
    CodingAdded,
    /// Joins equal fields of an answer into one (H15).
    AnswerFieldsJoined,
    /// Drops fields of an answer with bytes above 0x7F (H15).
    AnswerHighBytesDropped,
    /// Takes LF alone for a line end (H16).
    BareLfAccepted,
    /// Takes CR and NUL inside values (H16).
    BareCrAccepted,
    /// Refuses an empty line ahead of a request line (H16).
    LeadingLineRefused,
    /// Takes field names that are no tokens, and lines without a colon (H17).
    FieldNamesUnchecked,
    /// Takes control characters in values (H17).
    ValuesUnchecked,
    /// Skips lines that begin with whitespace ahead of the first field (H17).
    LeadingSpaceSkipped,
    /// Serves any version as HTTP/1.1 (H18).
    VersionUnchecked,
    /// Answers 400 where it is 505 (H18).
    ForeignVersionMisnamed,
    /// Ignores unknown expectations (H19).
    ExpectationIgnored,
    /// Compares expectations with regard to case (H19).
    ExpectationCaseSensitive,
    /// Answers 400 where it is 501 (H20).
    UnknownCodingMisnamed,
    /// Ignores unknown codings ahead of `chunked` (H20).
    UnknownCodingIgnored,
    /// Sends statuses that cannot be final (H21).
    OddStatusSent,
    /// Replaces them without a report (H21).
    OddStatusUnreported,

    // L: start and stop.
    /// Serves although the build failed, with 500 for every request (L1).
    StartFailureServes,
    /// Returns without an error after a build that failed (L1).
    StartFailureHidden,
    /// Leaves applications without teardown if a later build failed (L1).
    StartFailureLeaks,
    /// Never calls teardown (L5).
    TeardownSkipped,
    /// Calls teardown while bodies still run (L5).
    TeardownEarly,
    /// Does not report an error of teardown (L5).
    TeardownErrorUnreported,
    /// Announces readiness before the build (L6).
    ReadyEarly,
    /// Resets connections that come before it is ready (L6).
    EarlyClientsReset,
    /// Does not raise the stopping signal (L7).
    StoppingUntold,
    /// Waits for calls beyond the deadline (L8).
    DeadlineIgnored,
    /// Tells hooks of exchanges cut by the deadline that they were completed (L8).
    CutUntold,
    /// Ends a body cut by the deadline as if it were complete (L8).
    CutLooksComplete,
    /// Serves only the first listener (L10).
    SecondListenerIgnored,
    /// Returns before teardown (L11).
    ReturnsEarly,
    /// Keeps the listener open for ever (L11).
    ListenerLeaked,
    /// Returns an error after an orderly stop (L11).
    StopIsError,
    /// Ignores a stop that comes before it is ready (L12).
    EarlyStopIgnored,
    /// Keeps the first deadline when it is stopped again (L12).
    SecondStopIgnored,
    // B, E, U, W, X: the rest.
}
