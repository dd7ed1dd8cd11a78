//! What idle connections cost, and whether others are served meanwhile.

use std::{io, thread, time::Duration};

use serde::{Deserialize, Serialize};
use varvel_bench_load::latency::Latency;

use crate::{
    bench::{Bench, Progress},
    chart::{self, Line, Plot, Tone},
    client::{Driving, Holding},
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
    /// Of a request on a fresh connection.
    fresh: Latency,
    /// Percent of the connections that answered again in the end.
    alive: usize,
}

/// With fewer connections, what else the kernel does weighs more than they do.
const KERNEL_FROM: usize = 10_000;

const SCENARIO: &str = "memory";

/// When less is left, the connections are given up rather than the machine.
const MEMORY_RESERVE: u64 = 1 << 30;

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
            let row = hold(bench, server, *connections);
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

fn hold(bench: &Bench, server: &Server, connections: usize) -> io::Result<Row> {
    let processors = Processors::one_each()?;
    let processes = bench.processes(connections);
    let start = || Running::start(server, &bench.programs, &processors.server, 1);
    let running: Vec<_> = (0..processes).map(|_| start()).collect::<io::Result<_>>()?;
    for each in &running {
        // Buffers that every server has once are not to count for the connections.
        Driving::start(&bench.programs, &processors.client, each, "--seconds 0.1 --warm-up 0")?.finish()?;
    }
    let resident = || running.iter().map(|each| machine::resident(each.pid())).sum::<io::Result<u64>>();
    let (server_before, kernel_before) = (resident()?, settled_kernel()?);

    let part = |index: usize| connections * (index + 1) / processes - connections * index / processes;
    let clients = running.iter().enumerate();
    let clients =
        clients.map(|(index, each)| Holding::start(&bench.programs, &processors.client, each, part(index)));
    let mut clients: Vec<_> = clients.collect::<io::Result<_>>()?;
    for (index, client) in clients.iter_mut().enumerate() {
        while client.progress()? < part(index) {
            if machine::meminfo("MemAvailable")? < MEMORY_RESERVE {
                return Err(io::Error::other("the machine's memory is nearly used up"));
            }
        }
    }
    let (server_after, kernel_after) = (resident()?, settled_kernel()?);

    // Who cannot end a connection after an answer is not asked.
    let fresh = if server.cannot.contains(&"close") {
        Latency::default()
    } else {
        let options = format!("--close --connections 1 --seconds {}", bench.seconds);
        Driving::start(&bench.programs, &processors.client, &running[0], &options)?.finish()?.latency
    };
    let alive = clients.into_iter().map(Holding::release).collect::<io::Result<Vec<_>>>()?;
    Ok(Row {
        server: server.name.into(),
        connections,
        processes,
        server_bytes: server_after.saturating_sub(server_before),
        kernel_bytes: kernel_after.saturating_sub(kernel_before),
        fresh,
        alive: alive.into_iter().min().unwrap_or(0),
    })
}

/// What the kernel uses for its own, once it has freed what it puts off.
fn settled_kernel() -> io::Result<u64> {
    const STEP: Duration = Duration::from_millis(500);
    let kernel = || Ok::<_, io::Error>(machine::meminfo("Slab")? + machine::meminfo("KernelStack")?);
    let mut bytes = kernel()?;
    for _ in 0..10 {
        thread::sleep(STEP);
        let before = std::mem::replace(&mut bytes, kernel()?);
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
             it. The kernel's share was measured over the whole machine, so the client's end is in it.\n\n";
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
