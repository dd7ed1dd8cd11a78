//! The counted program, under the tool that counts.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{Result, client, workload::Workload};

/// Where a tool puts what it has counted. Removed in the end.
pub struct Output(pub PathBuf);

impl Drop for Output {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs the program under a tool, which is given without it, and plays so many rounds with it. `tool` is told where to
/// put its output; the answer is what is there then.
pub fn run(workload: &Workload, rounds: u64, tool: impl FnOnce(&str) -> Command) -> Result<String> {
    let file = format!("varvel-counts.{}.{rounds}", std::process::id());
    let output = Output(std::env::temp_dir().join(file));
    let mut command = tool(output.0.to_str().ok_or("the directory for temporary files has a strange name")?);
    command.arg(std::env::current_exe()?.with_file_name("varvel-counted")).arg(workload.server);
    let mut program = Program(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut port = String::new();
    let stdout = program.0.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut port)?;
    let port = port.trim().parse().map_err(|_| "the counted program has not started")?;
    client::play(workload.exchange, rounds, port)?;
    // The end of its standard input is the end of the program.
    drop(program.0.stdin.take());
    let status = program.0.wait()?;
    if !status.success() {
        return Err(format!("the counted program has failed: {status}").into());
    }
    Ok(std::fs::read_to_string(&output.0)?)
}

/// Whether that tool is installed.
pub fn is_installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

struct Program(Child);

impl Drop for Program {
    /// Does nothing to one that has ended.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
