//! What the probe does with a connection that it took over: the steps behind `upgrade`, which are `data`, `frames`,
//! `read` (to the end, or exactly so many bytes), `echo` (to the end), `close`, `gate`, `block`, `stopping`, `timer`,
//! `emit` and `panic`.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use varvel::{AsyncIo, BlockingIo};

use super::{
    Link,
    context::{Context, block_on, digest, piece, thread_name},
    describe::hex,
    program::Step,
};

/// Tells what happens after a call has returned, and in it: the call itself does not run any more.
#[derive(Clone, Debug)]
pub(super) struct Log {
    link: Arc<Link>,
    key: String,
}

impl Log {
    pub(super) fn of(context: &Context) -> Self {
        Self { link: Arc::clone(&context.link), key: context.key.clone() }
    }

    pub(super) fn emit(&self, event: &str, mut fields: Value) {
        fields["event"] = event.into();
        fields["key"] = self.key.as_str().into();
        fields["pid"] = std::process::id().into();
        self.link.emit(fields);
    }

    fn read(&self, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(1024)];
        self.emit("tunnel-read", json!({ "bytes": bytes.len(), "hex": hex(shown), "digest": digest(bytes) }));
    }

    fn mark(&self, name: &str) {
        self.emit("mark", json!({ "name": name, "thread": thread_name() }));
    }

    fn held(&self, name: &str) {
        self.emit("held", json!({ "name": name, "thread": thread_name() }));
    }
}

/// Tells how a tunnel ended, also when it is dropped.
struct Ending {
    log: Log,
    result: String,
}

impl Ending {
    fn new(log: Log) -> Self {
        log.emit("tunnel-began", json!({ "thread": thread_name() }));
        Self { log, result: "dropped".to_owned() }
    }

    fn came(&mut self, result: io::Result<()>) {
        self.result = result.map_or_else(|error| format!("{:?}", error.kind()), |()| "returned".to_owned());
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.log.emit("tunnel-ended", json!({ "result": self.result }));
    }
}

/// On a thread of its own.
pub(super) fn blocking(mut io: BlockingIo, steps: Vec<Step>, log: Log) {
    let mut ending = Ending::new(log.clone());
    let result = steps.into_iter().try_for_each(|step| blocking_step(&mut io, step, &log));
    ending.came(result);
}

fn blocking_step(io: &mut BlockingIo, step: Step, log: &Log) -> io::Result<()> {
    match step {
        Step::Data(data) => io.write_all(&data)?,
        Step::Frames { count, bytes } => {
            for nth in 0..count {
                log.emit("produced", json!({ "nth": nth }));
                io.write_all(&piece(nth, bytes))?;
                log.emit("sent", json!({ "nth": nth }));
            }
        }
        Step::Read(wanted) => {
            let mut bytes = Vec::new();
            match wanted {
                Some(count) => {
                    bytes.resize(usize::try_from(count).unwrap_or(usize::MAX), 0);
                    io.read_exact(&mut bytes)?;
                }
                None => {
                    io.read_to_end(&mut bytes)?;
                }
            }
            log.read(&bytes);
        }
        Step::Echo => {
            let mut buffer = [0; 4096];
            loop {
                match io.read(&mut buffer)? {
                    0 => break,
                    count => io.write_all(&buffer[..count])?,
                }
            }
        }
        Step::Close => io.close_write()?,
        Step::Gate(name) | Step::Block(name) => {
            log.held(&name);
            log.link.wait(&name);
        }
        Step::Stopping => {
            log.emit("waiting", json!({ "name": "stopping" }));
            block_on(io.worker().stopping());
            log.emit("stopping", json!({ "is": io.worker().is_stopping() }));
        }
        Step::Timer(milliseconds) => block_on(io.worker().sleep(Duration::from_millis(milliseconds))),
        Step::Emit(name) => log.mark(&name),
        Step::Panic => panic!("probe: planned panic in a tunnel"),
        _ => {}
    }
    Ok(())
}

/// Polled by the server.
pub(super) async fn polled(mut io: AsyncIo, steps: Vec<Step>, log: Log) {
    let mut ending = Ending::new(log.clone());
    for step in steps {
        let result = polled_step(&mut io, step, &log).await;
        if result.is_err() {
            return ending.came(result);
        }
    }
    ending.came(Ok(()));
}

async fn polled_step(io: &mut AsyncIo, step: Step, log: &Log) -> io::Result<()> {
    match step {
        Step::Data(data) => io.write_all(&data).await?,
        Step::Frames { count, bytes } => {
            for nth in 0..count {
                log.emit("produced", json!({ "nth": nth }));
                io.write_all(&piece(nth, bytes)).await?;
                log.emit("sent", json!({ "nth": nth }));
            }
        }
        Step::Read(wanted) => {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let wanted = wanted.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
            while bytes.len() < wanted {
                let room = buffer.len().min(wanted - bytes.len());
                match io.read(&mut buffer[..room]).await? {
                    0 if wanted == usize::MAX => break,
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => bytes.extend_from_slice(&buffer[..count]),
                }
            }
            log.read(&bytes);
        }
        Step::Echo => {
            let mut buffer = [0; 4096];
            loop {
                match io.read(&mut buffer).await? {
                    0 => break,
                    count => io.write_all(&buffer[..count]).await?,
                }
            }
        }
        Step::Close => io.close().await?,
        Step::Gate(name) => {
            log.held(&name);
            log.link.pass(&name).await;
        }
        Step::Block(name) => {
            log.held(&name);
            log.link.wait(&name);
        }
        Step::Stopping => {
            log.emit("waiting", json!({ "name": "stopping" }));
            io.worker().clone().stopping().await;
            log.emit("stopping", json!({ "is": io.worker().is_stopping() }));
        }
        Step::Timer(milliseconds) => io.worker().sleep(Duration::from_millis(milliseconds)).await,
        Step::Emit(name) => log.mark(&name),
        Step::Panic => panic!("probe: planned panic in a tunnel"),
        _ => {}
    }
    Ok(())
}
