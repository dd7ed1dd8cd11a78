use std::{
    collections::VecDeque,
    sync::mpsc,
    task::Wake,
    time::{Duration, Instant},
};

use super::*;

/// So many frames of 16 KiB, the bytes of each telling its number.
struct Frames {
    next: u32,
    count: u32,
}

const FRAME: usize = 16 * 1024;

impl FrameRead for Frames {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        if self.next == self.count {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Frame::Data(Bytes::from(vec![self.next as u8; FRAME]))))
    }

    fn exact_len(&self) -> Option<u64> {
        Some(u64::from(self.count - self.next) * FRAME as u64)
    }
}

#[test]
fn a_large_upload_read_in_parts_of_frames_does_not_overflow_the_stack() {
    let count = 4096;
    let mut body = ReadBody::from_frames(Frames { next: 0, count });
    let mut buffer = [0; FRAME / 2];
    for frame in 1..=count {
        for half in 1..=2 {
            body.read_exact(&mut buffer).unwrap();
            assert!(buffer.iter().all(|byte| *byte == frame as u8), "frame {frame}");
            let left = u64::from(count - frame) * FRAME as u64 + (2 - half) * buffer.len() as u64;
            assert_eq!(body.exact_len(), Some(left));
        }
    }
    assert_eq!(body.read(&mut buffer).unwrap(), 0);
}

#[test]
fn what_a_read_left_of_a_frame_is_the_next_frame_also_through_the_parts() {
    let mut body = ReadBody::from_frames(Frames { next: 0, count: 2 });
    body.read_exact(&mut [0; 100]).unwrap();
    let BodyParts::Stream(mut reader) = body.into_parts() else { panic!("still a stream") };
    let mut lengths = Vec::new();
    while let Some(Frame::Data(data)) = reader.next_frame().unwrap() {
        lengths.push(data.len());
    }
    assert_eq!(lengths, [FRAME - 100, FRAME]);
}

fn shrunken_file() -> FileRegion {
    // Its end is far before that of the region.
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    FileRegion { file: Arc::new(file), offset: 0, len: 1 << 30 }
}

#[test]
fn a_file_that_shrank_is_not_the_clients_fault() {
    let mut body = ReadBody::file(shrunken_file());
    let error = loop {
        match body.next_frame() {
            Ok(frame) => assert!(frame.is_some(), "the end came without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), BodyErrorKind::Failed);
    assert!(error.to_string().contains("the file ends"), "{error}");

    let error = io::copy(&mut ReadBody::file(shrunken_file()), &mut io::sink()).unwrap_err();
    assert_eq!(BodyError::from(error).kind(), BodyErrorKind::Failed);
}

/// What was pushed: the capacity that each chunk holds on to cannot be seen, its bytes and the flushes can.
#[derive(Default)]
struct Pushed(Vec<String>);

impl FrameSink for Pushed {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.0.push(String::from_utf8_lossy(&chunk).into_owned());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        self.0.push("(flush)".into());
        Ok(())
    }

    fn trailers(&mut self, _: HeaderMap) -> Result<(), BodyError> {
        Ok(())
    }
}

#[test]
fn each_piece_of_a_slow_reader_goes_out_at_once_and_a_signal_does_not_end_it() {
    struct Slow(VecDeque<io::Result<&'static str>>);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.pop_front() else { return Ok(0) };
            piece?.as_bytes().read(buffer)
        }
    }
    let reader = Slow([Ok("one"), Err(io::ErrorKind::Interrupted.into()), Ok("two")].into());
    let mut pushed = Pushed::default();
    WriteBody::from_reader(reader).write_to(&mut pushed).unwrap();
    assert_eq!(pushed.0, ["one", "(flush)", "two", "(flush)"]);
}

/// Counts its wake-ups, and tells of each.
struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

fn bell() -> (std::task::Waker, mpsc::Receiver<()>) {
    let (sender, rings) = mpsc::channel();
    (Arc::new(Bell(sender)).into(), rings)
}

/// Polls its child only when the child's own waker was woken, as combinators for many futures do.
fn only_when_woken(child: impl Future<Output = ()> + Send) -> impl Future<Output = ()> + Send {
    struct Child(std::sync::Mutex<(bool, Option<std::task::Waker>)>);
    impl Wake for Child {
        fn wake(self: Arc<Self>) {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            if let Some(parent) = state.1.take() {
                parent.wake();
            }
        }
    }
    let woken = Arc::new(Child(std::sync::Mutex::new((true, None))));
    let mut child = Box::pin(child);
    poll_fn(move |cx| {
        let mut state = woken.0.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        if !std::mem::take(&mut state.0) {
            return Poll::Pending;
        }
        drop(state);
        child.as_mut().poll(&mut Context::from_waker(&Arc::clone(&woken).into()))
    })
}

/// All data of a body, polled only when it asks for it; `None` if it stops asking before its end.
fn drain(mut body: AsyncBody) -> Option<Vec<u8>> {
    let (waker, rings) = bell();
    let mut all = Vec::new();
    loop {
        match body.poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => all.extend(data),
            Poll::Ready(None) => return Some(all),
            Poll::Ready(frame) => panic!("{frame:?}"),
            // Long enough for the slowest machine, and not waited for unless the body hangs.
            Poll::Pending => rings.recv_timeout(Duration::from_secs(20)).ok()?,
        }
    }
}

#[test]
fn a_generated_body_does_not_hang_when_its_sender_is_polled_with_a_waker_of_its_own() {
    let body = AsyncBody::generate(|mut frames| async move {
        only_when_woken(async move {
            frames.data("one ").await;
            frames.data("two").await;
        })
        .await;
        Ok(())
    });
    assert_eq!(drain(body).as_deref(), Some(&b"one two"[..]));
}

#[test]
fn a_generated_body_does_not_hang_when_its_sender_is_on_another_thread() {
    let body = AsyncBody::generate(|mut frames| async move {
        let (task, spawned) = mpsc::channel::<std::task::Waker>();
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let over = Arc::clone(&done);
        std::thread::spawn(move || {
            let parent = spawned.recv().unwrap();
            let (waker, rings) = bell();
            let mut sends = Box::pin(async move {
                frames.data("one ").await;
                frames.data("two").await;
            });
            while sends.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                rings.recv().unwrap();
            }
            over.store(true, std::sync::atomic::Ordering::Release);
            parent.wake();
        });
        let mut task = Some(task);
        poll_fn(|cx| {
            if let Some(task) = task.take() {
                task.send(cx.waker().clone()).unwrap();
            }
            if done.load(std::sync::atomic::Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    });
    assert_eq!(drain(body).as_deref(), Some(&b"one two"[..]));
}

#[test]
fn a_sender_beside_its_body_in_the_same_task_does_not_hang() {
    let (hand_over, sender) = mpsc::channel();
    let mut body = AsyncBody::generate(move |frames| {
        hand_over.send(frames).unwrap();
        std::future::pending()
    });
    let mut frames = sender.recv().unwrap();
    let mut sends = Box::pin(async move {
        frames.data("one ").await;
        frames.data("two").await;
    });
    let (waker, rings) = bell();
    let mut cx = Context::from_waker(&waker);
    let mut all = Vec::new();
    while sends.as_mut().poll(&mut cx).is_pending() {
        while let Poll::Ready(Some(Ok(Frame::Data(data)))) = body.poll_frame(&mut cx) {
            all.extend(data);
        }
        rings.recv_timeout(Duration::from_secs(20)).expect("the taken frame wakes its sender");
    }
    assert_eq!(all, b"one two");
}

#[test]
fn a_generated_body_does_not_wake_the_task_that_polls_it_for_nothing() {
    let mut body = AsyncBody::generate(|mut frames| async move {
        frames.data("one").await;
        std::future::pending().await
    });
    let (waker, rings) = bell();
    let mut cx = Context::from_waker(&waker);
    assert!(body.poll_frame(&mut cx).is_ready());
    assert!(body.poll_frame(&mut cx).is_pending());
    assert!(rings.try_recv().is_err());
}

#[test]
fn the_longest_durations_do_not_overflow_the_clock() {
    let far = Instant::now() + Duration::from_secs(20 * 365 * 24 * 60 * 60);
    assert!(crate::Scope::for_test().worker().sleep(Duration::MAX).deadline() > far);
    let control = crate::Control::new();
    control.stop(Duration::MAX);
    assert!(control.stop_deadline().unwrap() > far);
}
