//! Tunnels across the bridges: an async continuation on a thread, a blocking one beside an event loop.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bytes::{Buf, BytesMut};

use super::origin::Panic;
use crate::{AsyncIo, AsyncTunnel, BlockingTransport, BlockingTunnel, PollIo};

/// Runs an async continuation on the thread that a blocking one would have: the transport's own wait is where it sleeps.
///
/// The continuation may hand its connection to another thread. Whoever comes for the transport while it waits ends the
/// wait, and goes first.
pub(super) fn to_blocking(tunnel: AsyncTunnel) -> BlockingTunnel {
    let worker = tunnel.worker().clone();
    BlockingTunnel::new(worker, |io| {
        let (transport, _) = io.into_transport();
        let waker = transport.waker();
        let shared =
            Arc::new(Shared { waker: waker.clone(), state: Mutex::default(), changed: Condvar::new() });
        lock(&shared.state).transport = Transport::Here(transport);
        let _over = Over(&shared);
        let mut run = tunnel.run(OnThread(Arc::clone(&shared)));
        let alarm = Arc::new(Alarm { rung: AtomicBool::new(true), transport: waker });
        let waker = Waker::from(Arc::clone(&alarm));
        let mut cx = Context::from_waker(&waker);
        loop {
            alarm.rung.store(false, SeqCst);
            if run.as_mut().poll(&mut cx).is_ready() || shared.wait(&alarm).is_err() {
                break;
            }
        }
    })
}

/// Ends the transport's wait, unless a poll comes anyway. Between wait and poll it must not: a reader that is told to come
/// back would end the next wait, after which it is told again, and the thread would never sleep.
struct Alarm {
    /// A poll comes.
    rung: AtomicBool,
    transport: Waker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, SeqCst) {
            self.transport.wake_by_ref();
        }
    }
}

/// The transport, between the thread that waits on it and whoever holds the connection.
struct Shared {
    /// Ends the transport's wait.
    waker: Waker,
    state: Mutex<Waiting>,
    /// The transport came back, or a visitor has left.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    transport: Transport,
    /// How many threads stand here until the transport is back.
    visitors: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default)]
enum Transport {
    Here(Box<dyn BlockingTransport>),
    /// The thread waits on it, without the lock.
    Away,
    /// The continuation has returned, and the connection is closed (spec U6).
    #[default]
    Over,
}

impl Shared {
    /// Waits until a read or write that could not go on may, and wakes whoever wanted it.
    fn wait(&self, alarm: &Alarm) -> io::Result<()> {
        let visited = |state: &mut Waiting| state.visitors > 0;
        let state = self.changed.wait_while(lock(&self.state), visited);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let mut transport = match std::mem::replace(&mut state.transport, Transport::Away) {
            Transport::Here(transport) => transport,
            Transport::Away | Transport::Over => return Err(io::ErrorKind::NotConnected.into()),
        };
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        let waited = transport.wait(reader.is_some(), writer.is_some(), None);
        lock(&self.state).transport = Transport::Here(transport);
        self.changed.notify_all();
        alarm.rung.store(true, SeqCst);
        // Which of them can go on the next poll tells; the wakers may belong to parts of the continuation.
        reader.into_iter().chain(writer).for_each(Waker::wake);
        waited
    }

    /// The state with the transport in it, unless all is over.
    fn visit(&self) -> MutexGuard<'_, Waiting> {
        let mut state = lock(&self.state);
        if let Transport::Away = state.transport {
            state.visitors += 1;
            self.waker.wake_by_ref();
            let away = |state: &mut Waiting| matches!(state.transport, Transport::Away);
            state = self.changed.wait_while(state, away).unwrap_or_else(PoisonError::into_inner);
            state.visitors -= 1;
            self.changed.notify_all();
        }
        state
    }
}

impl Waiting {
    fn try_with<T>(
        &mut self,
        act: impl FnOnce(&mut dyn BlockingTransport) -> io::Result<T>,
    ) -> io::Result<T> {
        match &mut self.transport {
            Transport::Here(transport) => act(&mut **transport),
            Transport::Away | Transport::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The end of the continuation, also by a panic: closes the connection, and tells whoever still holds it.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        let transport = std::mem::take(&mut state.transport);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        drop(transport);
        self.0.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

struct OnThread(Arc<Shared>);

impl PollIo for OnThread {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.visit();
        match state.try_with(|transport| transport.try_read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.visit();
        match state.try_with(|transport| transport.try_write(bytes)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.visit().try_with(|transport| transport.close_write()))
    }
}

/// Dropping the connection closes it; the thread's own handle remains only to wait on.
impl Drop for OnThread {
    fn drop(&mut self) {
        let _ = self.0.visit().try_with(|transport| transport.close_write());
    }
}

/// Runs a blocking continuation on a thread of its own, with the event loop carrying its bytes.
///
/// Not on the pool: a tunnel may last for days, and would take a thread from the calls for as long.
pub(super) fn to_async(tunnel: BlockingTunnel) -> AsyncTunnel {
    AsyncTunnel::new(tunnel.worker().clone(), |io| {
        Box::pin(async move {
            let pipe = Arc::new(Pipe::default());
            let end = LoopEnd(Arc::clone(&pipe));
            let thread_end = ThreadEnd(Arc::clone(&pipe));
            let started = thread::Builder::new().name("varvel-tunnel".into()).spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| tunnel.run(thread_end)));
                pipe.tell_loop(|state| state.returned = Some(result));
            });
            // Without a thread there is nobody to talk to: the connection closes.
            if started.is_ok() {
                end.carry(io).await;
            }
        })
    })
}

/// How many bytes wait in each direction at most.
const PIPE_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Default)]
struct PipeState {
    /// The loop's task, when it waits.
    task: Option<Waker>,
    incoming: BytesMut,
    /// The client closed its sending side, or the connection failed.
    incoming_end: Option<io::ErrorKind>,
    incoming_over: bool,
    outgoing: BytesMut,
    close_wanted: bool,
    /// The loop's end is gone, or writing failed.
    broken: bool,
    /// Somebody woke the thread's waker.
    woken: bool,
    returned: Option<Result<(), Panic>>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        lock(&self.state)
    }

    fn tell_loop(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = self.lock();
        change(&mut state);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Pipe {
    fn wake(self: Arc<Self>) {
        self.lock().woken = true;
        self.changed.notify_all();
    }
}

struct LoopEnd(Arc<Pipe>);

impl LoopEnd {
    /// Carries bytes both ways until the thread has returned and everything it wrote is out.
    async fn carry(&self, mut io: AsyncIo) {
        let mut closed = false;
        let returned = poll_fn(|cx| {
            let mut state = self.0.lock();
            state.task = Some(cx.waker().clone());
            let changed = Self::read(&mut io, &mut state, cx) | Self::write(&mut io, &mut state, cx);
            if state.close_wanted && state.outgoing.is_empty() && !closed {
                closed = io.poll_close(cx).is_ready();
            }
            let over = state.outgoing.is_empty() || state.broken;
            let returned = if over { state.returned.take() } else { None };
            drop(state);
            if changed {
                self.0.changed.notify_all();
            }
            returned.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        if let Err(panic) = returned {
            resume_unwind(panic);
        }
    }

    fn read(io: &mut AsyncIo, state: &mut PipeState, cx: &mut Context<'_>) -> bool {
        let mut changed = false;
        let mut piece = [0; 8 * 1024];
        while !state.incoming_over && state.incoming.len() < PIPE_BYTES {
            match io.poll_read(cx, &mut piece) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => state.incoming_over = true,
                Poll::Ready(Ok(read)) => state.incoming.extend_from_slice(&piece[..read]),
                Poll::Ready(Err(error)) => {
                    state.incoming_over = true;
                    state.incoming_end = Some(error.kind());
                }
            }
            changed = true;
        }
        changed
    }

    fn write(io: &mut AsyncIo, state: &mut PipeState, cx: &mut Context<'_>) -> bool {
        let mut changed = false;
        while !state.outgoing.is_empty() && !state.broken {
            match io.poll_write(cx, &state.outgoing) {
                Poll::Pending => break,
                Poll::Ready(Ok(written)) if written > 0 => state.outgoing.advance(written),
                Poll::Ready(_) => state.broken = true,
            }
            changed = true;
        }
        if let Poll::Ready(Err(_)) = io.poll_flush(cx) {
            state.broken = true;
            changed = true;
        }
        changed
    }
}

impl Drop for LoopEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.broken = true;
        state.incoming_over = true;
        drop(state);
        self.0.changed.notify_all();
    }
}

struct ThreadEnd(Arc<Pipe>);

impl BlockingTransport for ThreadEnd {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let taken = buffer.len().min(state.incoming.len());
        if taken > 0 {
            state.incoming.copy_to_slice(&mut buffer[..taken]);
            drop(state);
            self.0.tell_loop(|_| {});
            return Ok(taken);
        }
        match (state.incoming_over, state.incoming_end.take()) {
            (_, Some(kind)) => Err(kind.into()),
            (true, None) => Ok(0),
            (false, None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut fits = 0;
        let mut broken = false;
        self.0.tell_loop(|state| {
            broken = state.broken || state.close_wanted;
            fits = if broken { 0 } else { bytes.len().min(PIPE_BYTES.saturating_sub(state.outgoing.len())) };
            state.outgoing.extend_from_slice(&bytes[..fits]);
        });
        match fits {
            _ if broken => Err(io::ErrorKind::BrokenPipe.into()),
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            fits => Ok(fits),
        }
    }

    fn close_write(&mut self) -> io::Result<()> {
        self.0.tell_loop(|state| state.close_wanted = true);
        Ok(())
    }

    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
        let pointless = |state: &mut PipeState| {
            !(std::mem::take(&mut state.woken)
                || (readable && (!state.incoming.is_empty() || state.incoming_over))
                || (writable && (state.outgoing.len() < PIPE_BYTES || state.broken)))
        };
        let state = self.0.lock();
        match timeout {
            Some(timeout) => drop(self.0.changed.wait_timeout_while(state, timeout, pointless)),
            None => drop(self.0.changed.wait_while(state, pointless)),
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Scope;

    /// One end of a pipe that says when it is waited on.
    struct Observed(ThreadEnd, mpsc::Sender<()>);

    impl BlockingTransport for Observed {
        fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.try_read(buffer)
        }
        fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.try_write(bytes)
        }
        fn close_write(&mut self) -> io::Result<()> {
            self.0.close_write()
        }
        fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
            let _ = self.1.send(());
            self.0.wait(readable, writable, timeout)
        }
        fn waker(&self) -> Waker {
            self.0.waker()
        }
    }

    /// Has a message whenever somebody waits to read, up to the last.
    struct Messages {
        left: usize,
        is_here: bool,
        woken: Arc<Woken>,
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    impl BlockingTransport for Messages {
        fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !std::mem::take(&mut self.is_here) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            buffer[0] = b'm';
            Ok(1)
        }
        fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn close_write(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn wait(&mut self, readable: bool, _: bool, _: Option<Duration>) -> io::Result<()> {
            // By nobody but the thread that waits: it would never sleep again.
            if self.woken.0.swap(false, SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::TimedOut)?;
            self.is_here = readable;
            Ok(())
        }
        fn waker(&self) -> Waker {
            Waker::from(Arc::clone(&self.woken))
        }
    }

    #[test]
    fn a_thread_that_has_read_a_message_sleeps_until_the_next() {
        let (sender, received) = mpsc::channel();
        let tunnel = AsyncTunnel::new(Scope::for_test().worker().clone(), move |mut io| {
            Box::pin(async move {
                let mut buffer = [0; 4];
                while let Ok(length) = poll_fn(|cx| io.poll_read(cx, &mut buffer)).await {
                    sender.send(length).unwrap();
                }
            })
        });
        to_blocking(tunnel).run(Messages { left: 3, is_here: false, woken: Arc::default() });
        assert_eq!(received.iter().collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn a_connection_handed_to_another_thread_does_not_hang_while_its_own_thread_waits() {
        let pipe = Arc::new(Pipe::default());
        let (waits, is_waited_on) = mpsc::channel();
        let transport = Observed(ThreadEnd(Arc::clone(&pipe)), waits);
        let client = Arc::clone(&pipe);
        let tunnel = AsyncTunnel::new(Scope::for_test().worker().clone(), move |mut io| {
            Box::pin(async move {
                let done = Arc::new(AtomicBool::new(false));
                let is_done = Arc::clone(&done);
                let mut work = Some(move |own_thread: Waker| {
                    is_waited_on.recv().unwrap();
                    let worker = io.worker().clone();
                    worker.block_on(io.write_all(b"ping")).unwrap();
                    client.lock().incoming.extend_from_slice(b"pong");
                    client.changed.notify_all();
                    let mut buffer = [0; 4];
                    assert_eq!(worker.block_on(io.read(&mut buffer)).unwrap(), 4);
                    assert_eq!(&buffer, b"pong");
                    done.store(true, SeqCst);
                    own_thread.wake();
                });
                poll_fn(|cx| {
                    if let Some(mut work) = work.take() {
                        let own_thread = cx.waker().clone();
                        thread::spawn(move || work(own_thread));
                    }
                    if is_done.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            })
        });
        let (returned, has_returned) = mpsc::channel();
        thread::spawn(move || {
            to_blocking(tunnel).run(transport);
            returned.send(()).unwrap();
        });
        has_returned.recv_timeout(Duration::from_secs(20)).expect("both threads go on");
        assert_eq!(pipe.lock().outgoing, "ping");
    }
}
