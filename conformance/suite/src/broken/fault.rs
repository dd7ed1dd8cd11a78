//! The faults of the reference server: one thing it does wrong each, for a check to catch.

/// One thing that the reference server can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    // S: calls and requests.
    /// Builds an application for every connection (S1).
    BuildPerConnection,
    /// Tears an application down when the stop begins and calls it all the same (S2).
    CallsAfterTeardown,
    /// Makes two calls for every request and answers with the second (S3).
    CallsTwice,
    /// Forgets what was pipelined behind a request (S3).
    ForgetsPipelined,
    /// Calls the application for a request that it then refuses (S4).
    CallsForRefused,
    /// Keeps a connection open after refusing a malformed request, and serves what follows (S4).
    ServesAfterRefusal,
    /// Answers every refusal with 400 (S4).
    RefusesAllWith400,
    /// Delivers the method in upper case (S5).
    UppercasesMethod,
    /// Answers 501 to methods that it does not know (S5).
    RefusesUnknownMethods,
    /// Resolves dot segments (S6).
    ResolvesDotSegments,
    /// Makes one slash of several (S6).
    MergesSlashes,
    /// Decodes percent-encoding (S6).
    DecodesPath,
    /// Drops an empty query (S6).
    DropsEmptyQuery,
    /// Cuts a fragment off instead of refusing the request (S6).
    CutsFragment,
    /// Gives the URI as the raw target (S7).
    RawTargetIsUri,
    /// Takes the authority from Host even if the target has one (S8).
    AuthorityIsHost,
    /// Joins field lines of the same name with a comma (S9).
    MergesFields,
    /// Keeps the whitespace behind a value (S9).
    KeepsTrailingSpace,
    /// Replaces bytes above 0x7F in values (S9).
    MasksHighBytes,
    /// Delivers Transfer-Encoding (S10).
    DeliversTransferEncoding,
    /// Replaces Host by the authority of the target (S10).
    RewritesHost,
    /// Does not deliver fields with an underscore in their names (S10).
    WithholdsUnderscores,
    /// Does not deliver Connection (S10).
    WithholdsConnection,
    /// Does not tell the length of a body that has one (S11).
    WithholdsLength,
    /// Says that a chunked body is of length 0 (S11).
    ChunkedLengthZero,
    /// Takes the peer's address from X-Forwarded-For (S12).
    TrustsForwardedFor,
    /// Gives the addresses of the connection the wrong way round (S12).
    SwapsAddresses,
    /// Lets more calls overlap than it says (S13).
    ExceedsConcurrency,
    /// Lets calls overlap although the policy is exclusive (S13).
    IgnoresExclusive,
    /// Serves no other connection while one call runs (S14).
    OneCallAtATime,
    /// Has no bound on the bytes of a head (S15).
    NoHeadLimit,
    /// Has no bound on the request line (S15).
    NoLineLimit,
    /// Has no bound on the number of fields (S15).
    NoFieldCountLimit,
    /// Refuses heads of more than 4 KiB, whatever its limits say (S15).
    RefusesLongHeads,
    /// Accepts any number of connections (S16).
    NoConnectionLimit,
    /// Cuts running calls off as soon as it is stopped (S17).
    StopCutsCalls,
    /// Closes connections whose head is incomplete when it is stopped (S17).
    StopCutsHalfHeads,
    /// Accepts connections while it is stopping (S17).
    StopKeepsAccepting,
    /// Leaves idle connections open while it is stopping (S17).
    StopLeavesIdle,
    /// Keeps a connection open after the exchange that ran when it was stopped (S17).
    KeepsAliveWhileStopping,
    /// Advertises other limits than it keeps (S18).
    OverstatesLimits,
    /// Says that there are more workers than it has built (S18).
    OverstatesWorkers,
    /// Delivers every request as HTTP/1.1 (S19).
    SaysVersion11,
    /// Takes HTTP/1.2 for 1.0 (S19).
    TakesHigherMinorFor10,
    /// Takes requests without Host (S20).
    IgnoresMissingHost,
    /// Takes two Host lines (S20).
    IgnoresSecondHost,
    /// Takes any value of Host (S20).
    IgnoresHostValue,
    /// Refuses a Host with a port (S20).
    RefusesHostWithPort,
    /// Lets a handle of an earlier exchange write an interim head into a later one (S21).
    StaleInterimIsSent,
    /// Lets the body of an earlier exchange read what belongs to a later one (S21).
    StaleBodyReads,
    /// Lets every byte renew the time for the head (S22).
    RenewsHeadTimeout,
    /// Keeps idle connections for ever (S22).
    NoIdleTimeout,
    /// Waits for ever for the rest of a request body (S22).
    NoBodyTimeout,
    /// Waits for ever for a client that does not read (S22).
    NoWriteTimeout,
    /// Waits for ever for a head that is not the first of its connection (S22).
    TimesFirstHeadOnly,
    /// Counts a head that is incomplete as a call that runs (S24).
    HalfOpenHoldsPlace,
    /// Counts a call as running while the rest of its request is discarded (S24).
    DiscardHoldsPlace,
    /// Takes much memory for each connection (S24).
    HoardsMemory,
    /// Keeps connections whose clients have left without a request (S24).
    KeepsDeparted,
    /// Accepts no connection any more when descriptors have once run out (S24).
    LastDescriptorIsTheEnd,
    /// Asks again and again for a connection while descriptors have run out (S24).
    SpinsWithoutDescriptors,

    // H: HTTP.
    /// Sends the body in answer to HEAD (H1).
    HeadSendsBody,
    /// Says in answer to HEAD that the body is empty (H1).
    HeadSaysEmpty,
    /// Runs the body in answer to HEAD, and discards what comes (H1).
    HeadRunsBody,
    /// Sends a body with 204 and 304 (H2).
    BodilessStatusSendsBody,
    /// Sends Content-Length with 204 (H2).
    LengthWithNoContent,
    /// Runs the body of a 204, and discards what comes (H2).
    BodilessStatusRunsBody,
    /// Sends chunks to HTTP/1.0 (H3).
    ChunkedOn10,
    /// Sends bodies of known length in chunks (H3).
    ChunksEverything,
    /// Sends no framing field with an empty body (H3).
    EmptyWithoutLength,
    /// Sends what exceeds the declared length (H4).
    SendsExcess,
    /// Ends an answer that is too short as if it were complete, and keeps the connection open (H4).
    ShortAnswerKeepsConnection,
    /// Does not report what it cuts (H4).
    CutsSilently,
    /// Does not report an answer that is too short (H4).
    ShortGoesUnreported,
    /// Sends a Content-Length that is no number as it was given (H4).
    SendsOddLength,
    /// Sends the application's connection fields (H5).
    SendsConnectionFields,
    /// Closes behind the last answer at once, whatever the client still sends (H23).
    CutsOffSenders,
    /// Removes also the Upgrade that 426 has to have (H5).
    UpgradeRequiredIsBare,
    /// Removes them without a report (H5).
    RemovesSilently,
    /// Adds no Date (H6).
    NoDate,
    /// Replaces the application's Date (H6).
    ReplacesDate,
    /// Ignores that the client said `close` (H7).
    IgnoresClose,
    /// Compares the options of Connection with regard to case (H7).
    OptionsAreCaseSensitive,
    /// Knows only the first option of Connection (H7).
    ReadsFirstOptionOnly,
    /// Closes without having said so (H7).
    ClosesUnannounced,
    /// Closes after every answer (H7).
    NeverKeepsAlive,
    /// Keeps HTTP/1.0 connections open that did not ask for it (H7).
    Keeps10Alive,
    /// Keeps HTTP/1.0 connections open without saying so (H7).
    Keeps10AliveSilently,
    /// Takes Content-Length beside Transfer-Encoding (H8).
    TakesBothFramings,
    /// Takes equal Content-Length more than once (H8).
    TakesEqualLengths,
    /// Takes the last of several Content-Length (H8).
    TakesLastLength,
    /// Takes a length with a sign (H8).
    TakesSignedLength,
    /// Takes a length that overflows for what is left of it (H8).
    WrapsLength,
    /// Takes `chunked` more than once (H8).
    TakesChunkedTwice,
    /// Takes Transfer-Encoding on HTTP/1.0 (H8).
    TakesChunksOn10,
    /// Ignores a Transfer-Encoding that does not end in `chunked` (H8).
    IgnoresOddTransferEncoding,
    /// Takes folded field lines (H8).
    TakesFolding,
    /// Takes whitespace ahead of a colon (H8).
    TakesSpaceBeforeColon,
    /// Sends 100 as soon as the head is read (H9).
    ContinuesBeforePull,
    /// Never sends 100 (H9).
    NeverContinues,
    /// Sends 100 to HTTP/1.0 too (H9).
    ContinuesOn10,
    /// Sends 100 at a pull of a request that expects it but has no body (H9).
    ContinuesWithoutBody,
    /// Sends 100 after the final head (H9).
    ContinuesAfterHead,
    /// Waits for the body that the client withholds (H10).
    WaitsForUnsentBody,
    /// Ignores a 100 that the application sends (H11).
    IgnoresForcedContinue,
    /// Sends a 100 that the application asks for to clients that expect none (H11).
    ContinuesUnasked,
    /// Sends a second 100 at the pull after it (H11).
    ContinuesTwice,
    /// Keeps interim heads back until the final one (H12).
    HoldsInterimBack,
    /// Does not send interim heads (H12).
    SwallowsInterim,
    /// Sends interim heads to HTTP/1.0 (H12).
    InterimTo10,
    /// Says that an interim head was sent when it was too late (H12).
    AcceptsLateInterim,
    /// Takes unread bytes of a request body for the next request (H13).
    UnreadBodyIsNextRequest,
    /// Changes the bytes of a large answer (H14).
    AltersContent,
    /// Joins equal fields of an answer into one (H15).
    MergesAnswerFields,
    /// Replaces bytes above 0x7F in fields of an answer (H15).
    MasksAnswerBytes,
    /// Takes LF alone for a line end (H16).
    TakesBareLf,
    /// Takes CR inside a line (H16).
    TakesBareCr,
    /// Takes NUL inside a line (H16).
    SkipsNul,
    /// Refuses an empty line ahead of a request line (H16).
    RefusesLeadingEmptyLine,
    /// Skips field lines whose names are no tokens (H17).
    SkipsBadNames,
    /// Skips lines without a colon (H17).
    SkipsLinesWithoutColon,
    /// Replaces control characters in values (H17).
    ReplacesControls,
    /// Skips lines that begin with whitespace ahead of the first field (H17).
    SkipsSpaceBeforeFields,
    /// Serves any version as HTTP/1.1 (H18).
    TakesAnyVersion,
    /// Answers 400 where it is 505 (H18).
    ForeignVersionIs400,
    /// Ignores unknown expectations (H19).
    IgnoresExpectations,
    /// Compares expectations with regard to case (H19).
    ExpectIsCaseSensitive,
    /// Answers 400 where it is 501 (H20).
    InnerCodingIs400,
    /// Ignores unknown codings ahead of `chunked` (H20).
    IgnoresInnerCodings,
    /// Sends statuses that cannot be final (H21).
    SendsAnyStatus,
    /// Replaces them without a report (H21).
    CorrectsStatusSilently,

    // L: start and stop.
    /// Serves although the build failed, with 500 for every request (L1).
    ServesWithoutApplication,
    /// Returns without an error after a build that failed (L1).
    HidesFailedStart,
    /// Does not report that a worker cannot be replaced (L2).
    FailedRestartIsLost,
    /// Ends with a worker that cannot be replaced (L2).
    FailedRestartEndsAll,
    /// Builds again after a build that failed for good (L2).
    RetriesFailedBuild,
    /// Says that its workers are forked processes (L3).
    PretendsToFork,
    /// Never calls teardown (L5).
    SkipsTeardown,
    /// Calls teardown while bodies still run (L5).
    TearsDownEarly,
    /// Does not report an error of teardown (L5).
    TeardownErrorIsLost,
    /// Announces readiness before the build (L6).
    ReadyBeforeBuild,
    /// Resets connections that come before it is ready (L6).
    ResetsEarlyClients,
    /// Does not raise the stopping signal (L7).
    StopsUnannounced,
    /// Waits for calls beyond the deadline (L8).
    IgnoresDeadline,
    /// Runs no hooks of exchanges that the deadline cut off (L8).
    NoHookAtDeadline,
    /// Ends a body cut off by the deadline as if it were complete (L8).
    CutAnswerLooksComplete,
    /// Does not report that a worker has died (L9).
    DeathIsUnreported,
    /// Does not replace a worker that has died (L9).
    TheDeadStayDead,
    /// Stops when a worker has died (L9).
    DeathTakesOthers,
    /// Serves only the first listener (L10).
    ServesFirstListenerOnly,
    /// Returns before teardown is over (L11).
    ReturnsBeforeTeardown,
    /// Keeps the listener open when it returns (L11).
    KeepsListener,
    /// Returns an error after an orderly stop (L11).
    StopIsAnError,
    /// Ignores a stop that comes before it is ready (L12).
    IgnoresEarlyStop,
    /// Keeps the first deadline when it is stopped again (L12).
    IgnoresSecondStop,
    /// Does not tell the monitor how exchanges end that fail (L13).
    MonitorMissesFailures,
    /// Tells the monitor that every exchange was completed (L13).
    MonitorHearsCompleted,
    /// Tells the monitor of an exchange when its call has returned (L13).
    MonitorHearsLate,
    /// Does not tell the monitor of refusals (L13).
    MonitorMissesRefusals,
    /// Does not tell the monitor that connections are closed (L13).
    MonitorMissesCloses,
    /// Tells the monitor that a connection is closed when it becomes a tunnel (L13).
    MonitorMistakesTunnels,
    /// Does not tell the monitor of exchanges that the deadline cut off (L13).
    MonitorMissesTheCut,
    /// Does not tell the monitor what became of the connections of a worker that has died (L13).
    MonitorForgetsTheDead,
    /// Tells of progress by the clock, whatever the calls do (L13).
    ProgressIsAClock,
    /// Tells of progress only when a call has ended (L13).
    ProgressNeedsCalls,
    /// Tells of no progress while any call runs (L13).
    AnyCallStopsProgress,

    // B: bodies.
    /// Delivers the lines of chunk sizes along with the data (B1).
    DeliversChunkSizes,
    /// Ends a request body with an error (B1).
    EndTurnsIntoError,
    /// Ends a request body that was cut as if it were complete (B2).
    CutBodyLooksComplete,
    /// Ends a request body whose connection was reset as if it were complete (B2).
    ResetBodyLooksComplete,
    /// Does not look at what follows the data of a chunk (B3).
    IgnoresChunkEnd,
    /// Takes a chunk size up to the first byte that is none (B3).
    TakesOddChunkSizes,
    /// Has no bound on chunk lines (B3).
    NoChunkLineLimit,
    /// Has no bound on trailers (B3).
    NoTrailerLimit,
    /// Says of every fault of a request body that it is Malformed (B3).
    AllFaultsAreMalformed,
    /// Has no bound on the bytes of a request body (B3).
    NoBodyLimit,
    /// Drops request trailers although it advertises them (B4).
    DropsRequestTrailers,
    /// Delivers trailers ahead of the data (B4).
    TrailersComeFirst,
    /// Sends response trailers to every client (B5).
    TrailersUnasked,
    /// Never sends response trailers although it advertises them (B5).
    DropsResponseTrailers,
    /// Ends a chunked answer at an empty frame (B6).
    EmptyFrameEnds,
    /// Reads a request body whether anyone wants it or not (B7).
    ReadsAheadWithoutBound,
    /// Accepts frames without waiting for the client (B8).
    AcceptsWithoutBound,
    /// Goes on with the next request whatever is unsent (B8).
    AnswersAheadWithoutBound,
    /// Keeps frames back although the body was flushed (B9).
    HoldsFramesBack,
    /// Keeps the head back until there is a frame (B9).
    HoldsHeadBack,
    /// Ends an answer whose body failed like a complete one (B10).
    FailedAnswerLooksComplete,
    /// Closes in order after a failed answer that the close delimits (B10).
    ClosesFailedAnswerInOrder,
    /// Keeps bodies that are not sent until the connection closes (B11).
    KeepsUnusedBody,
    /// Polls a body again behind its end (B12).
    PollsAfterEnd,
    /// Sends files from their beginning (B13).
    IgnoresFileOffset,
    /// Sends files to their end (B13).
    IgnoresFileLength,
    /// Reads files at the position of their descriptor (B13).
    UsesFilePosition,
    /// Fills up files that end early with zeros (B14).
    PadsShortFiles,
    /// Ends a request body when its call returns (B15).
    BodyEndsWithCall,
    /// Delivers trailer fields as header fields of the next request (B17).
    MergesTrailers,
    /// Sends trailers whatever their names (B18).
    SendsAnyTrailer,
    /// Removes fields that may not be trailers without a report (B18).
    RemovesTrailersSilently,

    // U: upgrades.
    /// Gives a token to HTTP/1.0 (U1).
    TokenOn10,
    /// Gives a token without the Connection option (U1).
    TokenWithoutConnection,
    /// Gives a token for a request with a body (U1).
    TokenWithBody,
    /// Gives a token for an Upgrade field that is not valid (U1).
    TokenForOddUpgrade,
    /// Never gives a token although it advertises them (U1).
    NeverGivesToken,
    /// Closes a connection that was not upgraded though it could have been (U2).
    UnusedTokenCloses,
    /// Says nothing of the protocol in the head of an upgrade (U3).
    UpgradeHeadIsBare,
    /// Keeps the application's Content-Length in the head of a tunnel (U3).
    TunnelKeepsLength,
    /// Drops the application's fields in the head of a tunnel (U3).
    TunnelDropsFields,
    /// Loses the bytes that came with the head of an upgrade (U4).
    TunnelLosesEarlyBytes,
    /// Takes the highest bit off the bytes of a tunnel (U5).
    TunnelIsSevenBit,
    /// Ends a tunnel when the client ends its sending side (U5).
    HalfCloseEndsTunnel,
    /// Ends reading when the continuation ends its sending side (U5).
    CloseEndsReading,
    /// Keeps the connection open when the continuation has returned (U6).
    TunnelStaysOpen,
    /// Loses what the continuation wrote last (U6).
    TunnelLosesLastBytes,
    /// Does not report the panic of a continuation (U6).
    TunnelPanicIsLost,
    /// Sends a 101 without a token (U7).
    SendsBare101,
    /// Sends 2xx to CONNECT without a token (U7).
    SendsBareConnect,
    /// Does not cut tunnels at the deadline (U8).
    TunnelSurvivesDeadline,
    /// Takes whatever is written into a tunnel (U9).
    TunnelWritesWithoutBound,
    /// Reads ahead of a tunnel as much as the client sends (U9).
    TunnelReadsWithoutBound,

    // E: errors, panics, cancellation.
    /// Sends the text of an error to the client (E1).
    TellsErrorToClient,
    /// Closes after an internal error (E1).
    ErrorEndsConnection,
    /// Answers 500 where the application wants no answer (E2).
    AbortIs500,
    /// Answers 500 where it is 503 (E3).
    UnavailableIs500,
    /// Sends no Retry-After with 503 (E3).
    NoRetryAfter,
    /// Answers 500 to every error of a request body (E3).
    BodyErrorIs500,
    /// Keeps the connection after an error in the framing of a body (E3).
    MalformedKeepsConnection,
    /// Answers 400 to trailers that are too large (E3).
    LargeTrailersAre400,
    /// Sends a second head after an error in the middle of an answer (E4).
    SecondHead,
    /// Reports failures twice (E5).
    ReportsTwice,
    /// Does not report failures (E5).
    ReportsNothing,
    /// Reports failures without the request that they belong to (E5).
    ReportsWithoutRequest,
    /// Reports that a client has left (E5).
    ReportsDisconnects,
    /// Closes the connection of a call that panics (E6).
    PanicKillsConnection,
    /// Never again has room for as many calls after one that panicked (E6).
    PanicLeaksPlace,
    /// Closes the connection after a panic in a hook (E7).
    HookPanicCloses,
    /// Closes the connection after a panic in a destructor (E7).
    DropPanicCloses,
    /// Does not report panics in hooks (E7).
    HookPanicIsLost,
    /// Does not report panics in destructors (E7).
    DropPanicIsLost,
    /// Does not report a panic in teardown (E7).
    TeardownPanicIsLost,
    /// Never notices that a client has left while the application computes (E8, E16).
    NeverNoticesDisconnect,
    /// Notices only after some seconds that a client has left (E8).
    NoticesDisconnectLate,
    /// Takes a write that the transport refused for a success (E9, E11).
    IgnoresFailedWrites,
    /// Cancels calls although the policy is to finish them (E10).
    CancelsDespiteFinish,
    /// Runs no hooks (E12).
    HookNeverFires,
    /// Tells every hook that the exchange was completed (E12).
    HookSaysCompleted,
    /// Tells hooks no status (E12).
    HookKnowsNoStatus,
    /// Counts head and framing as bytes of the body (E12).
    HookCountsFraming,
    /// Counts nothing of an answer that was cut off (E12).
    HookForgetsTheCut,
    /// Runs hooks before the answer is handed over (E12).
    HookFiresEarly,
    /// Runs no hook that comes after the end of its exchange (E12).
    LateHookIsLost,
    /// Runs the hooks of a tunnel when its head was sent (E12).
    TunnelHookFiresEarly,
    /// Does not take the end of the client's sending side for a disconnect (E13).
    IgnoresEndOfSending,
    /// Discards answers that are ready if the client has ended its sending side (E13).
    DiscardsForHalfClosed,
    /// Answers only the first request of a client that has ended its sending side (E14).
    AnswersOneBeforeEnd,
    /// Refuses what a sync body pushes to a client that has ended its sending side (E14).
    SinkRefusesHalfClosed,
    /// Wakes nobody who waits for a disconnect (E16).
    DisconnectWakesNobody,
    /// Says of an exchange that is over that its client is there (E16).
    FinishedLooksConnected,

    // X: extensions, versions.
    /// Says that interim heads were sent that it cannot send (X2).
    MissingInterimSaysSent,
    /// Offers upgrades that it cannot carry out (X2).
    MissingUpgradeIsOffered,
    /// Takes jobs and tasks that it cannot run (X2).
    MissingServiceSwallows,
    /// Takes a deferral that it cannot wait for (X2).
    MissingDeferralIsGiven,
    /// Ends a request body with an error where it does not deliver the trailers (X2).
    MissingTrailersFail,
    /// Sends response trailers although it does not advertise them (X2).
    MissingTrailersAreSent,
    /// Fails answers that are files (X2).
    MissingZerocopyFails,
    /// Takes a CONNECT with a field `Protocol` for an extended one (X2).
    MissingExtendedConnectIsOffered,
    /// Answers 101 to whoever offers HTTP/2 (X2).
    MissingHttp2IsAccepted,
    /// Takes a connection for one with TLS if a proxy says so (X2).
    MissingTlsIsClaimed,
    /// Tells a monitor of exchanges although it does not advertise it (X2).
    MissingMonitorIsTold,
    /// States no version of the specification (X6).
    StatesNoVersion,

    // W: worker services.
    /// Fires timers in the reverse order, as the last of them is due (W1).
    TimersFireLate,
    /// Fires timers some time after they are due (W1).
    TimersAreCoarse,
    /// Wakes the task that polled a timer first (W1).
    TimersWakeFirstTask,
    /// Never wakes a timer's task (W1).
    TimersNeverWake,
    /// Runs a task before it goes on with the answer (W2).
    SpawnDelaysAnswer,
    /// Polls a task only once (W2).
    SpawnPollsOnce,
    /// Drops tasks when the stop begins (W2).
    StopDropsTasks,
    /// Keeps tasks beyond the deadline (W2).
    TasksSurviveDeadline,
    /// Runs jobs on the thread that hands them in (W3).
    RunsJobsInline,
    /// Forgets jobs that would have to wait for a thread (W3).
    ForgetsQueuedJobs,
    /// Forgets the job when the pool is full (W3).
    FullPoolForgets,
    /// Counts a call whose reply is outstanding as one that runs (W4).
    DeferralHoldsPlace,
    /// Does not send a deferred reply to a client that has ended its sending side (W5).
    HalfClosedReplyIsLost,
    /// Leaves the client of a reply that was dropped waiting (W5).
    DroppedReplyHangs,
    /// Does not report panics in tasks and jobs (W6).
    ServicePanicIsLost,
    /// Ends a thread of the pool when a job panics (W6).
    JobPanicKillsThread,
    /// Loses a reply that came before its placeholder (W7).
    EarlyReplyIsLost,
    /// Never gives a deferral although it advertises them (W8).
    NeverGivesDeferral,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_fault_goes_unnamed_by_the_checks() {
        let named: BTreeSet<String> =
            crate::checks().flat_map(|check| check.caught).map(|fault| format!("{fault:?}")).collect();
        // The source is the only list of them.
        let variants = include_str!("fault.rs").lines().filter_map(|line| line.strip_prefix("    "));
        let variants = variants.filter_map(|line| line.strip_suffix(','));
        let faults: BTreeSet<String> =
            variants.filter(|name| name.chars().all(char::is_alphanumeric)).map(str::to_owned).collect();
        assert!(faults.len() > 200, "{faults:?}");
        assert_eq!(faults.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
