//! The conformance suite as a program: for the servers of this repository, and for any HTTP server by its URL.
//!
//! ```text
//!   arguments --> selection --> entries --+--> servers: started here, with the probe  --+--> runner --> Report
//!                                         +--> remote:  by URL, vectors only          --+     |
//!                                                                                          progress
//! ```
//!
//! What is run and how it is reported belongs to the suite; here is what a command line adds.

#![forbid(unsafe_code)]

mod arguments;
mod baseline;
mod explain;
mod list;
mod progress;
mod remote;
mod runner;
mod selection;
mod servers;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use varvel_conformance::{
    Entry, Report, Suite,
    report::{Details, Markdown, Table, json, junit},
    silence_planned_panics,
};

use crate::{
    arguments::{Arguments, Command, Format, Run},
    progress::Progress,
};

/// The exit status of a run that could not be made, which is also clap's for wrong usage.
const COULD_NOT_RUN: u8 = 2;

/// More than there are processors: checks mostly wait.
const JOBS: u16 = 8;

fn main() -> ExitCode {
    if let Some(status) = servers::serve_apart() {
        return status;
    }
    match answer(&Arguments::parse()) {
        Ok(status) => status,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn answer(arguments: &Arguments) -> Result<ExitCode, String> {
    if let Some(id) = &arguments.explain {
        if arguments.format != Format::Human {
            return Err("--explain has no other form than the human one".to_owned());
        }
        print(&explain::explain(&selection::named(id)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let entries = selection::selected(&arguments.selection)?;
    if arguments.list {
        print(&list(arguments, &entries)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &arguments.command {
        Some(Command::Run(run)) => check(arguments, run, &entries),
        None => {
            Err("nothing to do; `varvel-conformance run` checks a server, --help tells the rest".to_owned())
        }
    }
}

fn list(arguments: &Arguments, entries: &[Entry]) -> Result<String, String> {
    let everything = arguments.selection.is_everything();
    match arguments.format {
        Format::Human => Ok(list::human(entries, everything)),
        Format::Json => Ok(format!("{:#}\n", list::json(entries))),
        Format::Markdown if everything => Ok(list::markdown()),
        Format::Markdown => Err("the list in Markdown is always of everything".to_owned()),
        Format::Junit => Err("--format junit is for reports of runs".to_owned()),
    }
}

fn check(arguments: &Arguments, run: &Run, entries: &[Entry]) -> Result<ExitCode, String> {
    let known = run.baseline.as_deref().map(baseline::read).transpose()?;
    let complete = arguments.selection.is_everything();
    let mut reports = match (&run.server, &run.url) {
        (Some(server), _) => own(server, run, entries, complete)?,
        (None, Some(url)) => vec![remote::check(url, run, entries, complete)?],
        (None, None) => {
            return Err(
                "which server? --server NAME starts one of ours, --url URL takes any other".to_owned()
            );
        }
    };
    if let Some(known) = known {
        reports.iter_mut().for_each(|report| known.forgive(report));
    }
    print(&told(&reports, arguments.format, run.verbose))?;
    Ok(if reports.iter().any(Report::failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Checks a server of this repository, each of its forms on its own.
fn own(server: &str, run: &Run, entries: &[Entry], complete: bool) -> Result<Vec<Report>, String> {
    silence_planned_panics();
    let mut reports = Vec::new();
    for form in servers::forms(server, run.form.as_deref())? {
        let (suite, began) = (Suite::new(form.subject()), Instant::now());
        let progress = Progress::new(&suite.subject().name(), entries.len());
        let jobs = run.jobs.unwrap_or(JOBS).into();
        let findings = runner::run_all(entries, jobs, &progress, |entry| suite.find(entry));
        let command = format!("varvel-conformance run --server {server} --form {}", form.form);
        reports.push(suite.report(findings, complete, command, began.elapsed()));
    }
    Ok(reports)
}

fn told(reports: &[Report], format: Format, verbose: bool) -> String {
    match format {
        Format::Human => reports
            .iter()
            .map(|report| format!("{}{}", Details { report, all: verbose }, Table(report)))
            .collect(),
        Format::Markdown => {
            reports.iter().map(|report| Markdown(report).to_string()).collect::<Vec<_>>().join("\n")
        }
        Format::Json => format!("{:#}\n", json(reports)),
        Format::Junit => junit(reports),
    }
}

/// Prints; whoever reads may have had enough.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}
