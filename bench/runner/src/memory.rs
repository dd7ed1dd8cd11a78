//! What idle connections cost, and whether others are served meanwhile.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use varvel_bench_load::latency::Latency;

use crate::{
    bench::{Bench, Progress},
    chart::{self, Line, Plot, Tone},
    client::{Crowd, Driving},
    machine::{self, Processors},
    page::{Table, cell, grouped, three_digits},
    rates::tone,
    results::Results,
    servers::{EVENTED, Running, SERVERS, Server},
};

/// A measurement. Bytes are those of all connections together.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    server: String,
    connections: usize,
    /// How many processes the server needed, as each may open only so many files.
    processes: usize,
    /// By which the server's processes grew.
    server_bytes: u64,
    /// By which the kernel grew, for both ends of all connections.
    kernel_bytes: u64,
    /// By which the buffers of all sockets grew.
    #[serde(default)]
    buffer_bytes: u64,
    /// Of a request on a fresh connection.
    fresh: Latency,
    /// Percent of the connections that answered again in the end.
    alive: usize,
}

/// With fewer connections, what else the kernel does weighs more than they do.
const KERNEL_FROM: usize = 10_000;

const SCENARIO: &str = "memory";

/// What the kernel takes for both ends of a connection, in bytes, rather too much than too little.
const KERNEL_EACH: u64 = 10 << 10;

/// What a server takes of which nothing is known yet.
const SERVER_EACH: u64 = 1 << 10;

/// The part of the machine's memory that is left to others: the connections are given up rather than the machine.
const RESERVE_PART: u64 = 8;

/// How many files are left to others.
const FILES_RESERVE: u64 = 10_000;

/// How often is told how far it is, where it takes long.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Measures. What is there of these servers with as many connections is replaced.
pub(crate) fn measure(
    bench: &Bench,
    results: &Results,
    servers: &[&'static Server],
    sizes: &[usize],
) -> io::Result<()> {
    let mut rows: Vec<Row> = results.read(SCENARIO)?;
    let mut progress = Progress::new(servers.len() * sizes.len());
    for connections in sizes {
        bench.say_processes(*connections);
        for server in servers {
            let known = rows.iter().filter(|row| row.server == server.name).max_by_key(|row| row.connections);
            let each = known.map_or(SERVER_EACH, |row| row.server_bytes / row.connections as u64);
            let row = check_room(*connections, each).and_then(|()| hold(bench, server, *connections));
            let came = match &row {
                Ok(row) => format!(
                    "{:>6} KiB each, {} KiB of the kernel; fresh requests p50 {} ms, p99 {} ms",
                    three_digits(row.server_kib()),
                    three_digits(row.kernel_kib()),
                    three_digits(row.fresh.p50 / 1e3),
                    three_digits(row.fresh.p99 / 1e3),
                ),
                Err(error) => format!("failed: {error}"),
            };
            progress.step(&format!("{} idle, {}", grouped(*connections as f64), server.name), &came);
            if let Ok(row) = row {
                rows.retain(|old| old.server != row.server || old.connections != row.connections);
                rows.push(row);
                rows.sort_by_key(|row| row.connections);
                results.write(SCENARIO, &rows)?;
            }
        }
    }
    Ok(())
}

/// Refuses what the machine has no room for, where a server takes so many bytes for each connection.
fn check_room(connections: usize, server_each: u64) -> io::Result<()> {
    let gibibytes = |bytes: u64| three_digits(bytes as f64 / f64::from(1 << 30));
    let needed = connections as u64 * (KERNEL_EACH + server_each);
    let (available, reserve) =
        (machine::meminfo("MemAvailable")?, machine::meminfo("MemTotal")? / RESERVE_PART);
    if available < needed + reserve {
        return Err(io::Error::other(format!(
            "it takes some {} GiB of memory, and {} GiB are left to others, but {} GiB are available",
            gibibytes(needed),
            gibibytes(reserve),
            gibibytes(available),
        )));
    }
    // An end of a connection is a file.
    let (needed, left) = (2 * connections as u64 + FILES_RESERVE, machine::files_left()?);
    if left < needed {
        return Err(io::Error::other(format!(
            "it takes {} open files, but {} are left: raise /proc/sys/fs/file-max",
            grouped(needed as f64),
            grouped(left as f64),
        )));
    }
    Ok(())
}

fn hold(bench: &Bench, server: &Server, connections: usize) -> io::Result<Row> {
    let processors = Processors::one_each()?;
    let processes = bench.processes(connections);
    let start = || Running::start(server, &bench.programs, &processors.server, 1);
    let running: Vec<_> = (0..processes).map(|_| start()).collect::<io::Result<_>>()?;
    for each in &running {
        // Buffers that every server has once are not to count for the connections.
        Driving::start(&bench.programs, &processors.client, each, 0.1, "--warm-up 0")?.finish()?;
    }
    let resident = || running.iter().map(|each| machine::resident(each.pid())).sum::<io::Result<u64>>();
    let (server_before, kernel_before) = (resident()?, settled_kernel()?);
    let buffers_before = machine::socket_buffers()?;

    let mut crowd = Crowd::start(&bench.programs, &processors.client, &running, connections)?;
    let (since, mut told) = (Instant::now(), Instant::now());
    crowd.gather(|open| {
        if told.elapsed() > TOLD_EVERY {
            told = Instant::now();
            let (open, all) = (grouped(open as f64), grouped(connections as f64));
            eprintln!("    {open} of {all} connections are open after {} s", since.elapsed().as_secs());
        }
        if machine::meminfo("MemAvailable")? < machine::meminfo("MemTotal")? / RESERVE_PART {
            return Err(io::Error::other(format!(
                "{} connections left too little memory to others",
                grouped(open as f64)
            )));
        }
        Ok(())
    })?;
    let (server_after, kernel_after) = (resident()?, settled_kernel()?);
    let buffers_after = machine::socket_buffers()?;

    // Who cannot end a connection after an answer is not asked.
    let fresh = if server.cannot.contains(&"close") {
        Latency::default()
    } else {
        let options = "--close --connections 1";
        Driving::start(&bench.programs, &processors.client, &running[0], bench.seconds, options)?
            .finish()?
            .latency
    };
    let alive = crowd.release()?;
    Ok(Row {
        server: server.name.into(),
        connections,
        processes,
        server_bytes: server_after.saturating_sub(server_before),
        kernel_bytes: kernel_after.saturating_sub(kernel_before),
        buffer_bytes: buffers_after.saturating_sub(buffers_before),
        fresh,
        alive,
    })
}

/// What the kernel uses for its own, once it has freed what it puts off.
fn settled_kernel() -> io::Result<u64> {
    const STEP: Duration = Duration::from_millis(500);
    let mut bytes = machine::kernel_memory()?;
    for _ in 0..10 {
        thread::sleep(STEP);
        let before = std::mem::replace(&mut bytes, machine::kernel_memory()?);
        if bytes.abs_diff(before) < 1 << 18 {
            break;
        }
    }
    Ok(bytes)
}

impl Row {
    fn server_kib(&self) -> f64 {
        self.server_bytes as f64 / 1024.0 / self.connections as f64
    }

    fn buffer_kib(&self) -> f64 {
        self.buffer_bytes as f64 / 1024.0 / self.connections as f64
    }

    fn kernel_kib(&self) -> f64 {
        self.kernel_bytes as f64 / 1024.0 / self.connections as f64
    }
}

/// Tables and a chart of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut sizes: Vec<_> = rows.iter().map(|row| row.connections).collect();
    sizes.dedup();
    let servers: Vec<_> =
        SERVERS.iter().filter(|server| rows.iter().any(|row| row.server == server.name)).collect();
    let heads: Vec<_> = sizes.iter().map(|size| grouped(*size as f64)).collect();
    let table = |title: &str, figure: &dyn Fn(&Row) -> Option<String>| {
        let mut table = Table::new([title].into_iter().chain(heads.iter().map(String::as_str)));
        for server in &servers {
            table.row(
                server.name,
                sizes.iter().map(|size| {
                    let row = rows.iter().find(|row| row.server == server.name && row.connections == *size);
                    cell(row.and_then(figure))
                }),
            );
        }
        table.finish()
    };
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut lines: Vec<_> = servers
        .iter()
        .map(|server| {
            let own = rows.iter().filter(|row| row.server == server.name && row.server_bytes > 0);
            let points = own.map(|row| (row.connections as f64, mebibytes(row.server_bytes)));
            Line { name: server.name.into(), points: points.collect(), tone: tone(server) }
        })
        .collect();
    let ours = rows.iter().filter(|row| row.server == EVENTED && row.connections >= KERNEL_FROM);
    let points = ours.map(|row| (row.connections as f64, mebibytes(row.kernel_bytes))).collect();
    lines.push(Line { name: "the kernel, both ends".into(), points, tone: Tone::Limit });
    let title = "Memory for idle connections, in MiB";
    let plot =
        Plot { title: String::new(), below: "idle keep-alive connections".into(), logarithmic: true, lines };
    let further = "by which the server's processes grow; both axes logarithmic";
    results.publish("memory.svg", &chart::plots(title, further, &[plot]))?;

    let mut page = format!("## Memory\n\n![{title}](memory.svg)\n\n");
    page += &table("KiB of the process per idle connection", &|row| Some(three_digits(row.server_kib())));
    page += &table("KiB of the kernel, both ends", &|row| {
        (row.connections >= KERNEL_FROM).then(|| three_digits(row.kernel_kib()))
    });
    page += &table("fresh request meanwhile, p50 / p99 in ms", &|row| {
        let Latency { p50, p99, .. } = row.fresh;
        (p50 > 0.0).then(|| format!("{} / {}", three_digits(p50 / 1e3), three_digits(p99 / 1e3)))
    });
    page += "Each connection has made a request and stays open. A fresh request opens a connection, and ends with \
             it. The kernel's share is slabs and stacks, by which the whole machine's grew, so the client's end is in it.";
    let buffers = rows.iter().filter(|row| row.buffer_bytes > 0).map(Row::buffer_kib).reduce(f64::max);
    page += &match buffers {
        Some(kib) => format!(" Buffers of idle sockets hold at most {} KiB each.\n\n", three_digits(kib)),
        None => " Buffers of idle sockets hold nothing.\n\n".into(),
    };
    if let Some(row) = rows.iter().max_by_key(|row| row.processes).filter(|row| row.processes > 1) {
        page += &format!(
            "{} connections took {} processes of server and client here, as one could not open so many files.\n\n",
            grouped(row.connections as f64),
            row.processes
        );
    }
    let lost: Vec<_> = rows.iter().filter(|row| row.alive < 100).collect();
    for row in &lost {
        page += &format!(
            "{}: {} % of {} connections still answered in the end.\n\n",
            row.server, row.alive, row.connections
        );
    }
    if lost.is_empty() {
        page += "In the end all connections that were asked again still answered.\n\n";
    }
    Ok(page)
}
