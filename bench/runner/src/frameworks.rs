//! What frameworks cost: in process beside the bare contract and beside each other, and behind a server.

use std::{
    collections::BTreeSet,
    fs, io,
    process::{self, Command, Stdio},
};

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Measured;

use crate::{
    bench::{Bench, Progress, cost, rate, trusted},
    machine::{self, Processors},
    page::{Table, cell, grouped, three_digits},
    results::{Results, median},
    servers::{EVENTED, HELLOS, RESOURCE},
};

/// A framework called in process, as the program `frameworks` tells it. Times are nanoseconds of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct InProcess {
    framework: String,
    form: String,
    routes: usize,
    /// How many requests each answers for the tool that counts instructions.
    batch: usize,
    least: f64,
    median: f64,
    /// To the bare application of the same form in the same round, in the median.
    ratio: f64,
    allocations: f64,
    bytes: f64,
    /// Where there is a tool that counts them.
    instructions: Option<f64>,
}

/// A measurement of a hello behind a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    server: String,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

const IN_PROCESS: &str = "frameworks";
const SCENARIO: &str = "frameworks-hello";

const BARE: &str = "bare";

/// How often the servers are compared in a round: what is looked for is a small part of what is measured.
const REPEATS: usize = 3;

/// Measures. What was there is replaced.
pub(crate) fn measure(bench: &Bench, results: &Results) -> io::Result<()> {
    let mut progress = Progress::new(2 + bench.rounds * REPEATS * HELLOS.len());
    let mut rows = in_process(bench)?;
    progress.step("in process", &format!("{} subjects", rows.len()));
    match instructions(bench, rows.len()) {
        Ok(instructions) => {
            progress.step("instructions", "counted");
            for (row, count) in rows.iter_mut().zip(instructions) {
                row.instructions = Some(count / row.batch as f64);
            }
        }
        Err(error) => progress.step("instructions", &format!("not counted: {error}")),
    }
    results.write(IN_PROCESS, &rows)?;

    let mut rows = Vec::new();
    for round in 0..bench.rounds * REPEATS {
        for index in 0..HELLOS.len() {
            // Each round begins with another, so that what drifts does not favour one.
            let server = &HELLOS[(index + round) % HELLOS.len()];
            let measured = bench.measure(server, "--expect 13");
            progress.measured(&format!("hello, {}", server.name), &measured);
            if let Ok(measured) = measured {
                rows.push(Row { server: server.name.into(), round, measured });
            }
        }
    }
    results.write(SCENARIO, &rows)
}

fn in_process(bench: &Bench) -> io::Result<Vec<InProcess>> {
    let mut command = Command::new(bench.programs.folder.join("frameworks"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let processors = Processors::one_each()?;
    let process = machine::on(&processors.server, || command.spawn())?;
    let output = process.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("frameworks: {}", output.status)));
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
}

/// What the subjects execute for a batch of requests, in the order in which the program tells them, counted by valgrind's
/// callgrind. It writes what it has counted each time that the counted function is entered, and in the end: so the first
/// file has nothing, the others what one subject did, and the last has the plain name.
fn instructions(bench: &Bench, subjects: usize) -> io::Result<Vec<f64>> {
    const COUNTED: &str = "frameworks::subject::answer_batch";
    let folder = std::env::temp_dir().join(format!("varvel-bench-frameworks.{}", process::id()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("counts");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    command.args(["--toggle-collect", "--dump-before"].map(|option| format!("{option}={COUNTED}")));
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(bench.programs.folder.join("frameworks")).arg("--once");
    let output = command.stdin(Stdio::null()).output();
    let numbered = (2..=subjects).map(|number| file.with_extension(number.to_string()));
    let counts: io::Result<Vec<_>> =
        numbered.chain([file.clone()]).map(|file| total(&fs::read_to_string(file)?)).collect();
    fs::remove_dir_all(&folder)?;
    if !output?.status.success() {
        return Err(io::Error::other("valgrind failed"));
    }
    counts
}

/// The sum in a file of callgrind.
fn total(profile: &str) -> io::Result<f64> {
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| io::Error::other("callgrind has written no sum"))
}

/// Tables of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<InProcess> = results.read(IN_PROCESS)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut page = String::from("## Frameworks\n\n");
    page += &table("ns of a request (above bare), by routes", &rows, |row, bare| {
        Some(above(row.least, bare.map(|bare| bare.least)))
    });
    page += &table("the same in the median (of bare)", &rows, |row, bare| {
        let ratio = bare.map_or(String::new(), |_| format!(" ({:.2})", row.ratio));
        Some(grouped(row.median) + &ratio)
    });
    page += &table("instructions (above bare)", &rows, |row, bare| {
        Some(above(row.instructions?, bare.and_then(|bare| bare.instructions)))
    });
    page += &table("allocations (above bare), and their bytes", &rows, |row, bare| {
        let number = above(row.allocations, bare.map(|bare| bare.allocations));
        Some(format!("{number}, {}", grouped(row.bytes)))
    });
    page += "`GET /users/7`, of which the path's field becomes a number and the answer is JSON, called in process: without a \
             server and without the making of the request. The route is the middle one of the table. Bare is the \
             contract alone: it takes the path apart by hand. Times are the least of many rounds, in which all take turns. \
             Idle middleware are two that do nothing.\n\n";

    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(page);
    }
    let rows = trusted(rows, |row| &row.measured, |row| row.server.clone());
    let own = |server: &str, of: fn(&Measured) -> f64| {
        median(rows.iter().filter(|row| row.server == server).map(|row| of(&row.measured)).collect())
    };
    let ratio = |row: &Row| {
        let bare = rows.iter().find(|bare| bare.server == EVENTED && bare.round == row.round)?;
        Some(cost(&row.measured) / cost(&bare.measured))
    };
    let mut table =
        Table::new(["hello, 64 connections, one loop", "µs of processor time", "above bare", "requests/s"]);
    for server in &HELLOS {
        let ratios = rows.iter().filter(|row| row.server == server.name && row.server == RESOURCE);
        let above = median(ratios.filter_map(ratio).collect());
        table.row(
            server.name,
            [
                cell(own(server.name, cost).map(three_digits)),
                cell(above.map(|ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0))),
                cell(own(server.name, rate).map(grouped)),
            ],
        );
    }
    page += &table.finish();
    page += "Medians of the rounds; what is above bare is taken within a round. The framework's responder is async, and its \
             hello has no field and no JSON.\n\n";
    Ok(page)
}

fn above(value: f64, bare: Option<f64>) -> String {
    grouped(value) + &bare.map_or(String::new(), |bare| format!(" (+{})", grouped(value - bare)))
}

/// A row for each framework and form, a column for each size of the table of routes.
fn table(
    title: &str,
    rows: &[InProcess],
    figure: impl Fn(&InProcess, Option<&InProcess>) -> Option<String>,
) -> String {
    let sizes: BTreeSet<_> = rows.iter().map(|row| row.routes).collect();
    let heads: Vec<_> = sizes.iter().map(|size| grouped(*size as f64)).collect();
    let mut table = Table::new([title].into_iter().chain(heads.iter().map(String::as_str)));
    let smallest = rows.iter().filter(|row| sizes.first() == Some(&row.routes));
    for subject in smallest {
        let of = |framework: &str, size: usize| {
            rows.iter()
                .find(|row| row.framework == framework && row.form == subject.form && row.routes == size)
        };
        let cells = sizes.iter().map(|size| {
            // It is above itself by nothing.
            let bare = of(BARE, *size).filter(|_| subject.framework != BARE);
            cell(of(&subject.framework, *size).and_then(|row| figure(row, bare)))
        });
        table.row(&format!("{}, {}", subject.framework, subject.form), cells);
    }
    table.finish()
}
