//! Tells what a request costs, in what does not depend on how busy the machine is: instructions executed and calls to the
//! allocator (by valgrind's callgrind), and system calls (by strace).
//!
//! Run it before and after a change. Each figure is the difference of two runs of unlike length, so that start and end of
//! the program cancel out. Where one thread does all the work it repeats to a few parts in a thousand. Where connections
//! begin, or threads meet, it depends on who is first; and the threaded server, which minds how long calls take, costs up
//! to a tenth more on a busy machine, and makes more system calls under strace than without. The allocator is the
//! system's.

mod baseline;
mod callgrind;
mod client;
mod counted;
mod strace;
mod workload;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    process::ExitCode,
};

use baseline::Figures;
use workload::Workload;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Usage: bench/counts/run [OPTIONS] [NAME]...

Counts instructions, allocations and system calls per request, for the workloads
whose names contain a NAME, or for all.

  --save FILE     write the figures to a file
  --compare FILE  tell how they differ from those that were saved
  --functions     tell instead which functions and files execute the instructions,
                  and which functions allocate
  --list          tell the names";

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is less is noise.
const LEAST: f64 = 0.005;

#[derive(Default)]
struct Options {
    help: bool,
    list: bool,
    functions: bool,
    save: Option<String>,
    compare: Option<String>,
    names: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut file = || arguments.next().ok_or(format!("{argument} needs a file"));
            match argument.as_str() {
                "--help" => options.help = true,
                "--list" => options.list = true,
                "--functions" => options.functions = true,
                "--save" => options.save = Some(file()?),
                "--compare" => options.compare = Some(file()?),
                option if option.starts_with('-') => return Err(format!("no such option: {option}").into()),
                _ => options.names.push(argument),
            }
        }
        Ok(options)
    }

    fn wants(&self, workload: &Workload) -> bool {
        let is_named = |name: &String| workload.name().contains(name.as_str());
        self.names.is_empty() || self.names.iter().any(is_named)
    }
}

fn run(options: &Options) -> Result<()> {
    if options.help {
        println!("{HELP}");
        return Ok(());
    }
    let workloads: Vec<_> = workload::all().filter(|workload| options.wants(workload)).collect();
    if workloads.is_empty() {
        return Err("no workload has such a name; --list tells them".into());
    }
    if options.list {
        workloads.iter().for_each(|workload| println!("{}", workload.name()));
        return Ok(());
    }
    if !callgrind::is_installed() {
        return Err("valgrind counts the instructions and is not installed: apt install valgrind".into());
    }
    if options.functions {
        return workloads.iter().try_for_each(tell_functions);
    }
    let has_strace = strace::is_installed();
    if !has_strace {
        eprintln!("strace counts the system calls and is not installed: apt install strace");
    }
    let before = options.compare.as_deref().map(baseline::load).transpose()?;
    println!("{}", columns("per request", [["instructions", ""], ["allocations", ""], ["system calls", ""]]));
    let mut all = Vec::new();
    for workload in &workloads {
        let profile = callgrind::profile(workload)?;
        let calls = if has_strace { Some(strace::system_calls(workload)?) } else { None };
        let figures = Figures {
            instructions: Some(profile.instructions()),
            allocations: Some(profile.allocations()),
            system_calls: calls.as_ref().map(|calls| calls.values().sum()),
        };
        let name = workload.name();
        let was = before.as_ref().map(|before| before.get(&name).copied().unwrap_or_default());
        println!("{}  {}", row(&name, &figures, was), calls.map_or(String::new(), names));
        all.push((name, figures));
    }
    options.save.as_deref().map_or(Ok(()), |path| baseline::save(path, &all))
}

/// With the change since a baseline, where there is one: in per cent, or in so many.
fn row(name: &str, now: &Figures, was: Option<Figures>) -> String {
    let was = was.unwrap_or_default();
    let in_percent = |now: f64, was: f64| format!("{:+.1}%", 100.0 * (now - was) / was);
    let in_number = |now: f64, was: f64| format!("{:+.2}", now - was);
    columns(
        name,
        [
            cells(now.instructions, 0, was.instructions, in_percent),
            cells(now.allocations, 2, was.allocations, in_number),
            cells(now.system_calls, 2, was.system_calls, in_number),
        ],
    )
}

fn cells(
    now: Option<f64>,
    places: usize,
    was: Option<f64>,
    change: impl FnOnce(f64, f64) -> String,
) -> [String; 2] {
    let change = now.zip(was).map(|(now, was)| change(now, was));
    [now.map_or("-".into(), |now| format!("{now:.places$}")), change.unwrap_or_default()]
}

fn columns(name: &str, [instructions, allocations, system_calls]: [[impl Display; 2]; 3]) -> String {
    let pair = |[value, change]: [_; 2]| format!("{value:>12} {change:>7}");
    format!("{name:23} {} {} {}", pair(instructions), pair(allocations), pair(system_calls))
}

/// Which are made at all, by name.
fn names(calls: BTreeMap<String, f64>) -> String {
    let made = calls.into_iter().filter(|(_, count)| *count >= LEAST);
    made.map(|(name, count)| format!("{name} {count:.2}")).collect::<Vec<_>>().join(", ")
}

fn tell_functions(workload: &Workload) -> Result<()> {
    let profile = callgrind::profile(workload)?;
    println!("{}, per request", workload.name());
    tell_most("instructions in the function itself", &profile.by_function, 0);
    tell_most("instructions by where they were written", &profile.by_file, 0);
    tell_most("allocations by who calls the allocator", &profile.allocations, 2);
    println!();
    Ok(())
}

fn tell_most(title: &str, counts: &HashMap<String, f64>, places: usize) {
    const MOST: usize = 25;
    let sum: f64 = counts.values().sum();
    println!("\n{sum:10.places$}  {title}");
    let mut sorted: Vec<_> = counts.iter().filter(|(_, count)| **count >= LEAST).collect();
    sorted.sort_by(|left, right| right.1.total_cmp(left.1).then(left.0.cmp(right.0)));
    for (name, count) in sorted.into_iter().take(MOST) {
        println!("{count:10.places$}  {name}");
    }
}
