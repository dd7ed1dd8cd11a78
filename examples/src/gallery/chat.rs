//! WebSockets of many clients: what one says, all hear, whichever worker of the process each of them is on.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http::Request;
use varvel::{AsyncBody, app_fn};
use varvel_toolkit::{
    routes::{Methods, get},
    websocket::{Handshake, Message, Text, WebSocket},
};

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// How many messages wait for a client that does not read; one that lets more pile up is sent away. All share the texts.
const UNREAD_MAX: usize = 1000;

/// Closes a client that does not keep up (RFC 6455 section 7.4.1).
const POLICY_VIOLATION: u16 = 1008;

/// Who is there, on all workers of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Chat(Arc<Mutex<Vec<Arc<Mailbox>>>>);

impl Chat {
    pub(super) fn methods(&self) -> Methods {
        let chat = self.clone();
        get(app_fn(move |request: Request<AsyncBody>, mut scope| {
            let chat = chat.clone();
            let handshake = Handshake::new().message_bytes_max(MESSAGE_BYTES_MAX);
            let answer = handshake.accept(&request, &mut scope, |socket| chat.take_part(socket));
            std::future::ready(Ok(answer))
        }))
    }

    async fn take_part(self, mut socket: WebSocket) {
        let seat = self.sit_down();
        loop {
            let event = poll_fn(|cx| match socket.poll_recv(cx) {
                Poll::Ready(received) => Poll::Ready(Event::Said(received.ok().flatten())),
                Poll::Pending => seat.mailbox.poll_next(cx),
            });
            match event.await {
                Event::Said(Some(Message::Text(text))) => {
                    self.tell(&text);
                    give_way().await;
                }
                Event::Said(Some(Message::Binary(_))) => {}
                Event::Said(None) => return,
                Event::Heard(text) => {
                    if socket.send(text).await.is_err() {
                        return;
                    }
                }
                Event::Overrun => {
                    // Whether it still listens is its own affair.
                    let _ = socket.close(POLICY_VIOLATION, "you do not keep up").await;
                    return;
                }
            }
        }
    }

    fn sit_down(&self) -> Seat {
        let mailbox = Arc::new(Mailbox::default());
        let there = {
            let mut mailboxes = lock(&self.0);
            mailboxes.push(Arc::clone(&mailbox));
            mailboxes.len()
        };
        self.tell(&format!("* somebody came, {there} here").into());
        Seat { chat: self.clone(), mailbox }
    }

    fn tell(&self, text: &Text) {
        for mailbox in lock(&self.0).iter() {
            mailbox.put(text.clone());
        }
    }
}

/// Lets other tasks go first: who says a lot at once is heard as it speaks.
async fn give_way() {
    let mut is_time = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_time, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a client's task waits for.
enum Event {
    /// By this client; `None` when it is gone.
    Said(Option<Message>),
    /// From all.
    Heard(Text),
    /// More came than this client has read.
    Overrun,
}

/// A client's place, until it is dropped with the task that serves it.
struct Seat {
    chat: Chat,
    mailbox: Arc<Mailbox>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let there = {
            let mut mailboxes = lock(&self.chat.0);
            mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            mailboxes.len()
        };
        self.chat.tell(&format!("* somebody went, {there} here").into());
    }
}

/// What a client has yet to be sent.
#[derive(Debug, Default)]
struct Mailbox(Mutex<Unread>);

#[derive(Debug, Default)]
struct Unread {
    texts: VecDeque<Text>,
    overrun: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    fn put(&self, text: Text) {
        let mut unread = lock(&self.0);
        if unread.texts.len() < UNREAD_MAX {
            unread.texts.push_back(text);
        } else {
            unread.overrun = true;
        }
        let waker = unread.waker.take();
        drop(unread);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut unread = lock(&self.0);
        if unread.overrun {
            return Poll::Ready(Event::Overrun);
        }
        match unread.texts.pop_front() {
            Some(text) => Poll::Ready(Event::Heard(text)),
            None => {
                unread.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
