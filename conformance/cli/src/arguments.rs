//! The command line, as clap reads it.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Checks HTTP servers against a written specification: those of Varvel clause by clause, any other by its URL.
#[derive(Debug, Parser)]
#[command(name = "varvel-conformance", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "\
Examples:
  varvel-conformance run --server evented
  varvel-conformance run --url http://127.0.0.1:8000
  varvel-conformance run --url http://127.0.0.1:8000 --group chunked --no-app
  varvel-conformance run --server threaded --format junit > report.xml
  varvel-conformance --explain H8
  varvel-conformance --list --group B

Exit status: 0 if nothing failed, 1 if something did, 2 if the run could not be made.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// List what there is: clauses with their checks and vectors, and groups with their sizes.
    #[arg(long, global = true, conflicts_with = "explain")]
    pub(crate) list: bool,

    /// Explain a clause (H8), a chapter (H), a check (H8/bad-chunks), a group (chunked), a vector
    /// (chunked/size-with-plus-sign) or a rule of the lint (A5.short).
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) explain: Option<String>,

    #[command(flatten)]
    pub(crate) selection: Selected,

    /// In which form to report.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// What to run or list; everything unless something is named.
#[derive(Args, Debug, Default)]
pub(crate) struct Selected {
    /// Only what is for this clause; may be given several times.
    #[arg(long, global = true, value_name = "ID", value_delimiter = ',')]
    pub(crate) clause: Vec<String>,

    /// Only this chapter of the specification (B) or group of the corpus (chunked); may be given several times.
    #[arg(long, global = true, value_name = "GROUP", value_delimiter = ',')]
    pub(crate) group: Vec<String>,

    /// Only this check (H8/bad-chunks) or vector (chunked/size-with-plus-sign); may be given several times.
    #[arg(long, global = true, value_name = "ID", value_delimiter = ',')]
    pub(crate) check: Vec<String>,
}

/// The default of `--timeout`.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a server.
    Run(Run),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("subject").args(["server", "url"]))]
pub(crate) struct Run {
    /// A server of this repository, which is started here, on loopback.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// Any HTTP server that runs already: http://HOST:PORT.
    #[arg(long)]
    pub(crate) url: Option<String>,

    /// With --server: only this form of calling the application, such as `async`; of prefork, which server runs in its
    /// workers. All of them unless given.
    #[arg(long, visible_alias = "worker", requires = "server", conflicts_with = "url", value_name = "NAME")]
    pub(crate) form: Option<String>,

    /// With --url: what the application saw is not judged, for servers without the probe routes.
    #[arg(long, requires = "url", conflicts_with = "server")]
    pub(crate) no_app: bool,

    /// With --url: leave out what could harm others behind a shared front end: smuggling sequences, pipelining, floods.
    /// The default for addresses that are not loopback.
    #[arg(long, requires = "url", conflicts_with_all = ["full", "server"])]
    pub(crate) safe: bool,

    /// With --url: leave nothing out. The default for loopback addresses.
    #[arg(long, requires = "url", conflicts_with = "server")]
    pub(crate) full: bool,

    /// With --url: permit an address that is not loopback. You need the consent of whoever runs that server.
    #[arg(long, requires = "url", conflicts_with = "server")]
    pub(crate) i_have_consent: bool,

    /// How many checks run at the same time. Default: 8 with --server, 4 with --url.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,

    /// With --url: how long to wait for anything that must come, in seconds.
    #[arg(long, requires = "url", conflicts_with = "server", value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// A report of an earlier run, made by --format json: what failed there fails no more, so that only changes do.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Tell of warnings in full, and of notes, too.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For reading.
    Human,
    /// For a README.
    Markdown,
    /// For programs; see `report/json.rs` of the suite for the layout.
    Json,
    /// For continuous integration.
    Junit,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0.1 to 600".to_owned())
}
