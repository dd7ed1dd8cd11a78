//! The program under test: a supervisor whose workers answer as their clients ask, and fail as a file says.
//!
//! Arguments: what the workers run, then settings as `name=value`.

use std::{
    env, fs, io,
    path::Path,
    process::{self, Command, ExitCode, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use http::{Request, Response};
use rustix::process::{Signal, set_parent_process_death_signal};
use varvel::{
    AsyncAppFactory, AsyncAppResult, AsyncBody, BoxError, Launch, Scope, Served, Server, StartError, app_fn,
    bridge::BlockOn, factory_fn,
};
use varvel_evented::Evented;
use varvel_prefork::{Heritage, Hooks, Relaunch, Sockets, Statistics, Supervisor, WorkerProcess};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// Names a file that says what becomes of the next workers: a word of [`Mood`], for one place alone with `@` and its number.
pub(crate) const MOOD: &str = "TEST_PROCESSES_MOOD";

/// How much is allocated before the fork, in bytes.
pub(crate) const BALLAST: usize = 64 << 20;

/// Of the worker that this process is.
static PLACE: AtomicUsize = AtomicUsize::new(usize::MAX);

pub(crate) fn run() -> ExitCode {
    let heritage = Heritage::claim();
    // Who takes over outlives its parent.
    if heritage.predecessor().is_none() {
        set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    }
    say(&format!("supervisor {}", process::id()));
    let mut arguments = env::args().skip(1);
    let kind = arguments.next().unwrap();
    let mut settings = Settings::default();
    for argument in ["bind=127.0.0.1:0", "loops=1"].map(str::to_owned).into_iter().chain(arguments) {
        let (name, value) = argument.split_once('=').unwrap();
        settings.set(name, value).unwrap();
    }
    let sockets = Sockets::inherit(&settings.bind, &settings.bind_options(), heritage).unwrap();
    say(&format!("address {}", sockets.addresses()[0]));
    let supervisor = Supervisor::new(settings.clone(), sockets).unwrap().with_hooks(Told);
    let supervisor = supervisor.with_relaunch(Relaunch::of_this_process().unwrap());
    let scoreboard = supervisor.scoreboard();
    let served = match &*kind {
        "evented" => supervisor.run(move |launch| Evented::new(settings).serve(application(), launch)),
        "threaded" => {
            supervisor.run(move |launch| Threaded::new(settings).serve(BlockOn::new(application()), launch))
        }
        "daemon" => supervisor.run(daemon),
        _ => {
            let ballast = vec![1; BALLAST];
            supervisor.run(move |launch| {
                assert!(ballast.iter().all(|byte| *byte == 1));
                say(&format!("shared {}", shared_memory()));
                daemon(launch)
            })
        }
    };
    let Statistics { requests, lost, in_flight, processes, .. } = scoreboard.statistics();
    say(&format!("statistics {requests} {lost} {in_flight} {processes}"));
    match served {
        Ok(served) => {
            say(&format!("cut {}", served.cut));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One write for each line, so that lines of several processes do not mix.
fn say(line: &str) {
    use io::Write;
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says when each hook is called and in which process.
struct Told;

impl Told {
    fn tell(hook: &str, worker: Option<&WorkerProcess>) {
        let worker = worker.map(|worker| format!(" {} {}", worker.place, worker.pid.unwrap_or(0)));
        say(&format!("hook {hook} in {}{}", process::id(), worker.unwrap_or_default()));
    }
}

impl Hooks for Told {
    fn on_starting(&mut self) {
        Self::tell("on_starting", None);
    }

    fn when_ready(&mut self) {
        Self::tell("when_ready", None);
    }

    fn before_fork(&mut self, worker: &WorkerProcess) {
        Self::tell("before_fork", Some(worker));
    }

    fn after_fork(&mut self, worker: &WorkerProcess) {
        PLACE.store(worker.place, Relaxed);
        Self::tell("after_fork", Some(worker));
    }

    fn worker_ready(&mut self, worker: &WorkerProcess) {
        Self::tell("worker_ready", Some(worker));
    }

    fn worker_abort(&mut self) {
        Self::tell("worker_abort", None);
    }

    fn worker_exit(&mut self, worker: &WorkerProcess, _status: ExitStatus) {
        Self::tell("worker_exit", Some(worker));
    }

    fn on_reload(&mut self) {
        Self::tell("on_reload", None);
    }

    fn on_exit(&mut self) {
        Self::tell("on_exit", None);
    }
}

fn application()
-> impl AsyncAppFactory<App: varvel::AsyncApp<Future: 'static> + Send + Sync + 'static> + Send + Sync + 'static
{
    factory_fn(|_worker| async {
        suffer()?;
        Ok(app_fn(answer))
    })
}

/// Fails as the file says that [`MOOD`] names.
fn suffer() -> Result<(), StartError> {
    let mood = env::var_os(MOOD).and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let mood = match mood.split_once('@') {
        Some((mood, place)) if place.parse() == Ok(PLACE.load(Relaxed)) => mood,
        Some(_) => "",
        None => &mood,
    };
    match mood {
        "refuses" => Err(StartError::new("no such table")),
        "hesitates" => Err(StartError::retry("the database is away")),
        "panics" => panic!("no such column"),
        "exits" => process::exit(7),
        "dawdles" => hang(),
        "dies" => {
            // As soon as it serves.
            thread::spawn(|| {
                thread::sleep(Duration::from_millis(20));
                process::abort();
            });
            Ok(())
        }
        _ => Ok(()),
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// Does what the path asks for; the answer is the last part of the path and who answers.
async fn answer(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let path = request.uri().path();
    let (what, id) = path[1..].split_once('/').unwrap_or(("", ""));
    match what {
        "hang" => {
            say(&format!("process {} hangs", process::id()));
            hang()
        }
        "abort" => process::abort(),
        "grow" => std::mem::forget(std::hint::black_box(vec![1_u8; 96 << 20])),
        "spawn" => {
            // Without `exec`, it has everything that the worker has.
            let child = fork_and_sleep();
            return Ok(Response::new(AsyncBody::full(child.to_string())));
        }
        "until" => {
            // The rest of the path is a file's.
            let file = Path::new("/").join(id);
            say(&format!("waits for {}", file.display()));
            while !file.exists() {
                scope.worker().sleep(Duration::from_millis(5)).await;
            }
        }
        _ => {}
    }
    Ok(Response::new(AsyncBody::full(format!("{id} {}", process::id()))))
}

/// A process that a worker leaves behind. It ends by itself after a while, for no test could wait for it.
#[allow(unsafe_code, reason = "there is no safe fork")]
fn fork_and_sleep() -> i32 {
    // SAFETY: the child calls nothing but `sleep` and `_exit`, which may be called behind a fork.
    unsafe {
        match libc::fork() {
            0 => {
                libc::sleep(20);
                libc::_exit(0)
            }
            pid => pid,
        }
    }
}

/// No server at all: works, and says that it gets on, until it is stopped, or for ever on the mood `dawdles`.
fn daemon(launch: Launch) -> Result<Served, BoxError> {
    launch.control.announce_ready();
    while launch.control.stop_deadline().is_none() {
        if let Some(monitor) = &launch.monitor {
            monitor.progress(0);
        }
        suffer()?;
        thread::sleep(Duration::from_millis(10));
    }
    let _ = Command::new("true").stdin(Stdio::null()).status();
    Ok(Served::default())
}

/// How much of this process's memory others have too, in bytes.
fn shared_memory() -> usize {
    let maps = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let shared = maps.lines().filter(|line| line.starts_with("Shared_"));
    shared.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10).sum()
}
