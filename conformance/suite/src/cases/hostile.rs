//! Clients that mean harm, or might as well: floods, heads without end, slow readers, clients that leave. Beside them a
//! neighbour wants to be served, and what they cost must not grow with what they send.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{
    burden::{Exhausted, Processes, descriptors_left, processor_time},
    flood::{FLOOD, PIECE, SOCKET_BUFFERS, until_stalled},
};
use crate::{Case, Client, Failure, SILENCE, Tuning, Verdict, ensure, expect_eq};

const MIB: u64 = 1 << 20;

/// What a server may take besides what it holds for connections: threads, and what its allocator does not give back.
const ROOM: u64 = 16 * MIB;

/// What a connection may cost beyond the bounds that its server states, in bytes.
const CONNECTION: u64 = 64 << 10;

/// A client that does nothing unusual, on a connection that it keeps.
struct Neighbour(Client);

impl Neighbour {
    fn new(case: &mut Case<'_>) -> Result<Self, Failure> {
        Ok(Self(case.connect()?))
    }

    /// Asks and is answered, on its old connection and on a new one.
    fn is_served(&mut self, case: &mut Case<'_>) -> Verdict {
        self.keeps_being_served(case)?;
        case.still_serves().map_err(|failure| failure.within("a neighbour that comes anew"))
    }

    /// Asks and is answered.
    fn keeps_being_served(&mut self, case: &Case<'_>) -> Verdict {
        let request =
            format!("GET /{}.neighbour?body=fine HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
        let answer = self.0.send(request).and_then(|()| self.0.response());
        let answer = answer.map_err(|failure| failure.within("a neighbour"))?;
        expect_eq("the answer to a neighbour:", answer.text().as_str(), "fine")
    }
}

/// Sees that memory has not grown by more than this.
fn grown_at_most(processes: &Processes, before: u64, allowed: u64, by: &str) -> Verdict {
    // What a server that takes all has not taken yet, it takes now.
    let mut grown = 0;
    loop {
        let more = processes.memory()?.saturating_sub(before);
        ensure(
            more <= allowed,
            format_args!("{by} costs at most {} MiB", allowed / MIB),
            format_args!("{} MiB", more / MIB),
        )?;
        if more < grown + MIB {
            return Ok(());
        }
        grown = more;
        thread::sleep(SILENCE);
    }
}

/// Sends heads of many sorts that have no end, on many connections; each must be refused, or closed.
pub(super) fn flood_of_large_heads(case: &mut Case<'_>) -> Verdict {
    let sorts = [
        ("a request line", "GET /".to_owned(), "x".repeat(1000)),
        ("a field", "GET / HTTP/1.1\r\nHost: a\r\nX: ".to_owned(), "x".repeat(1000)),
        ("a field name", "GET / HTTP/1.1\r\nHost: a\r\n".to_owned(), "x".repeat(1000)),
        ("fields", "GET / HTTP/1.1\r\nHost: a\r\n".to_owned(), format!("X: {}\r\n", "x".repeat(995))),
    ];
    flood_of_heads(case, Tuning::default(), 12, &sorts)
}

/// Sends heads of few bytes for each of very many fields: parsed they take many times what they take on the wire.
pub(super) fn flood_of_fields(case: &mut Case<'_>) -> Verdict {
    let few = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    let sorts = [
        ("equal fields", few.clone(), "a:\r\n".repeat(250)),
        ("different fields", few, (0..200).map(|n| format!("a{n}:\r\n")).collect()),
    ];
    flood_of_heads(case, Tuning { head_bytes_max: 2 << 20, ..Tuning::default() }, 6, &sorts)
}

fn flood_of_heads(
    case: &mut Case<'_>,
    tuning: Tuning,
    of_each: u64,
    sorts: &[(&str, String, String)],
) -> Verdict {
    let each = 2 * MIB;
    let held = u64::from(tuning.head_bytes_max) + tuning.read_ahead + CONNECTION;
    case.start(tuning)?;
    let processes = Processes::of(case)?;
    let mut neighbour = Neighbour::new(case)?;
    neighbour.is_served(case)?;
    let before = processes.memory()?;
    let mut clients = Vec::new();
    for (what, begin, piece) in sorts {
        for _ in 0..of_each {
            let mut client = case.connect()?;
            let mut sent = 0;
            let mut taken = client.try_send(begin);
            while taken && sent < each {
                taken = client.try_send(piece);
                sent += piece.len() as u64;
            }
            clients.push((what, client));
        }
        neighbour.is_served(case)?;
    }
    let count = clients.len() as u64;
    let flood = format!("a flood of {} MiB on {count} connections", count * each / MIB);
    grown_at_most(&processes, before, count * held + ROOM, &flood)?;
    for (what, mut client) in clients {
        // The answer may be lost in the reset that unread bytes cause.
        let (rest, _) =
            client.rest().map_err(|failure| failure.within(format_args!("{what} without end")))?;
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 414 ", "HTTP/1.1 431 "];
        ensure(
            rest.is_empty() || refused.iter().any(|refused| rest.starts_with(refused.as_bytes())),
            format_args!("{what} without end: a refusal, or only a close"),
            rest.escape_ascii(),
        )?;
    }
    neighbour.is_served(case)
}

/// Sends requests without end behind one whose answer is not read.
pub(super) fn flood_of_requests(case: &mut Case<'_>) -> Verdict {
    let mut neighbour = Neighbour::new(case)?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("size={FLOOD}")))?;
    client.head()?;
    let accepted = client.send_until_stalled(case.get("body=x"), FLOOD as usize, 2 * SILENCE)? as u64;
    neighbour.is_served(case)?;
    let bound = case.about().read_ahead + u64::from(Tuning::default().head_bytes_max) + SOCKET_BUFFERS;
    ensure(
        accepted <= bound,
        format_args!("no more than {bound} bytes taken behind an answer that is not read"),
        format_args!("{accepted} bytes of {FLOOD}"),
    )
}

/// Sends many requests at once and reads no answer for a while.
pub(super) fn answers_left_unread(case: &mut Case<'_>) -> Verdict {
    const COUNT: u64 = FLOOD / PIECE;
    let mut client = case.connect()?;
    client.send(case.get(&format!("size={PIECE}")).repeat(COUNT as usize))?;
    let produced = until_stalled(case, "call")? * PIECE;
    let bound = case.about().write_high_water + 2 * PIECE + SOCKET_BUFFERS;
    ensure(
        produced <= bound,
        format_args!("no more than {bound} bytes of answers while the client does not read"),
        format_args!("{produced} bytes of {FLOOD}"),
    )?;
    for nth in 0..COUNT {
        let answer = client.response().map_err(|failure| failure.within(format_args!("answer {nth}")))?;
        expect_eq("bytes of an answer, once the client reads:", answer.body.len() as u64, PIECE)?;
    }
    Ok(())
}

/// Opens thousands of connections that send nothing, or only the beginning of a head.
pub(super) fn half_open_connections(case: &mut Case<'_>) -> Verdict {
    const TIME: Duration = Duration::from_secs(2);
    // Both ends of each are in this process.
    let count = (descriptors_left()? / 3).min(2000);
    case.only_if(count >= 200, "the system gives too few descriptors for a crowd")?;
    let connections_max = u32::try_from(2 * count).unwrap_or(u32::MAX);
    case.start(Tuning {
        head_timeout: TIME,
        keep_alive_timeout: TIME,
        connections_max,
        ..Tuning::default()
    })?;
    let processes = Processes::of(case)?;
    case.still_serves()?;
    let before = processes.memory()?;
    let mut crowd = Vec::new();
    for nth in 0..count {
        let begins = ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: varvel.test\r\nX-Half: "];
        let connected = TcpStream::connect_timeout(&case.server().address(), case.limit());
        let mut stream = connected.map_err(|error| {
            Failure::new(format!("half-open connection {nth} is accepted"), error.to_string())
        })?;
        // One whose time is over already may be closed.
        let _ = stream.write_all(begins[nth % begins.len()].as_bytes());
        crowd.push(stream);
        if nth % 100 == 99 {
            // Neighbours that stay would be closed for being idle on a machine that is busy.
            case.still_serves().map_err(|failure| failure.within(format_args!("beside {nth} of them")))?;
        }
    }
    let crowd_of = format!("a crowd of {count} half-open connections");
    grown_at_most(&processes, before, count as u64 * CONNECTION + ROOM, &crowd_of)?;
    let until = Instant::now() + TIME + case.limit();
    for mut stream in crowd {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let ended = stream.set_read_timeout(Some(left)).and_then(|()| stream.read_to_end(&mut Vec::new()));
        let open =
            ended.is_err_and(|error| [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()));
        ensure(!open, "all of the crowd are closed when their time is over", "one is open")?;
    }
    case.still_serves()
}

/// Asks for streams on many connections and reads none of them.
pub(super) fn crowd_of_slow_readers(case: &mut Case<'_>) -> Verdict {
    const COUNT: u32 = 32;
    let tuning = Tuning { threads: COUNT + 8, ..Tuning::default() };
    let held = tuning.read_ahead + 2 * tuning.write_high_water + 2 * PIECE + CONNECTION;
    case.start(tuning)?;
    let processes = Processes::of(case)?;
    let mut neighbour = Neighbour::new(case)?;
    neighbour.is_served(case)?;
    let before = processes.memory()?;
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let mut client = case.connect()?;
        client.small_buffers()?;
        client.send(case.get(&format!("stream&frames=128:{PIECE}")))?;
        clients.push(client);
    }
    case.wait_for_nth("call", clients.len() + 2)?;
    until_stalled(case, "produced")?;
    neighbour.is_served(case)?;
    let crowd = format!("a crowd of {COUNT} that read nothing");
    grown_at_most(&processes, before, u64::from(COUNT) * held + ROOM, &crowd)
}

/// Leaves more bodies unsent, behind answers that did not wait for them, than calls may overlap.
pub(super) fn bodies_that_never_come(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { threads: 4, ..Tuning::default() })?;
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = case.connect()?;
        client.send(case.request("POST", "drop-request&body=done", "Content-Length: 100000\r\n") + "some")?;
        expect_eq("the answer that did not wait:", client.response()?.text().as_str(), "done")?;
        clients.push(client);
    }
    Neighbour::new(case)?.is_served(case)
}

/// Connects and leaves in many ways, many times.
pub(super) fn connect_and_leave(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { connections_max: 64, ..Tuning::default() })?;
    let processes = Processes::of(case)?;
    let mut neighbour = Neighbour::new(case)?;
    neighbour.is_served(case)?;
    let before = processes.descriptors()?;
    for nth in 0..600 {
        let stream = TcpStream::connect_timeout(&case.server().address(), case.limit());
        let mut stream =
            stream.map_err(|error| Failure::new("a connection is accepted", error.to_string()))?;
        let begins = ["", "GET / HTTP/1.1\r\nHo", "POST /"];
        // Whether it arrives is the server's concern.
        let _ = stream.write_all(begins[nth % begins.len()].as_bytes());
        if nth % 2 == 0 {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        drop(stream);
        if nth % 50 == 49 {
            neighbour.is_served(case).map_err(|failure| failure.within(format_args!("after {nth}")))?;
        }
    }
    let until = Instant::now() + case.limit();
    loop {
        let open = processes.descriptors()?;
        if open <= before {
            break;
        }
        ensure(
            Instant::now() < until,
            "no descriptor is left of clients that left",
            format_args!("{} are", open - before),
        )?;
        thread::sleep(Duration::from_millis(20));
    }
    let failures = case.settled("report").into_iter().find(|report| report.text("report") != "Log");
    ensure(failures.is_none(), "no report of a failure", format_args!("{failures:?}"))
}

/// Takes away all descriptors, has clients come, and gives them back.
pub(super) fn descriptors_run_out(case: &mut Case<'_>) -> Verdict {
    const TIME: Duration = Duration::from_secs(1);
    case.start(Tuning::default())?;
    case.only_if(Processes::of(case)?.is_single(), "its workers have limits of their own")?;
    let mut neighbour = Neighbour::new(case)?;
    neighbour.is_served(case)?;
    let socket = |_| Socket::new(Domain::for_address(case.server().address()), Type::STREAM, None);
    let sockets: Result<Vec<Socket>, _> = (0..8).map(socket).collect();
    let sockets = sockets.map_err(|error| Failure::new("sockets", error.to_string()))?;

    let exhausted = Exhausted::begin()?;
    let mut clients = Vec::new();
    for socket in sockets {
        let mut client = case.connect_with(socket)?;
        client.send(case.get("body=served"))?;
        clients.push(client);
    }
    neighbour.keeps_being_served(case)?;
    let before = processor_time();
    thread::sleep(TIME);
    let used = processor_time() - before;
    neighbour.keeps_being_served(case)?;
    drop(exhausted);

    for client in &mut clients {
        let answer = client.response().map_err(|failure| failure.within("a client that had to wait"))?;
        expect_eq("the answer to a client that had to wait:", answer.text().as_str(), "served")?;
    }
    neighbour.is_served(case)?;
    ensure(
        used < TIME / 4,
        "waiting for descriptors costs next to no processor time",
        format_args!("{used:?} of {TIME:?}"),
    )
}
