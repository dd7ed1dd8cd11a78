//! Files in place of standard output and standard error, which can be moved away while everybody writes.
//!
//! The file takes the place of the stream itself (`dup2`), so whoever writes there needs to know nothing, not even those
//! parts of an application that print. Moving on to a new file is one system call, before which all is in the old file and
//! after which all is in the new one: nothing is lost, and no line is split.

use std::{fs::File, io, path::PathBuf};

use rustix::{
    fs::{Gid, Uid, fchown},
    stdio::{dup2_stderr, dup2_stdout},
};

use crate::settings::Settings;

/// Where standard output and standard error go, if not where they went at the start.
#[derive(Clone, Debug, Default)]
pub struct LogFiles {
    access: Option<PathBuf>,
    log: Option<PathBuf>,
    owner: Option<(Uid, Gid)>,
}

impl LogFiles {
    /// Those of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self { access: settings.access_log_file.clone(), log: settings.log_file.clone(), owner: None }
    }

    /// Belonging to this user and group, who will have to open them later.
    #[must_use]
    pub fn owned_by(mut self, user: Uid, group: Gid) -> Self {
        self.owner = Some((user, group));
        self
    }

    /// Whether there is no file, and the streams stay as they are.
    pub fn is_empty(&self) -> bool {
        self.access.is_none() && self.log.is_none()
    }

    /// Opens the files, which are made if they are not there, and has all that is written from now on go there. To be
    /// called again when they have been moved away.
    ///
    /// # Errors
    /// If one cannot be opened; its stream goes on where it went before, and so does whatever comes behind it.
    pub fn open(&self) -> io::Result<()> {
        if let Some(path) = &self.access {
            dup2_stdout(self.file(path)?)?;
        }
        if let Some(path) = &self.log {
            dup2_stderr(self.file(path)?)?;
        }
        Ok(())
    }

    fn file(&self, path: &PathBuf) -> io::Result<File> {
        let problem = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write the log file {}: {error}", path.display()))
        };
        let file = File::options().append(true).create(true).open(path).map_err(problem)?;
        if let Some((user, group)) = self.owner {
            fchown(&file, Some(user), Some(group)).map_err(|errno| problem(errno.into()))?;
        }
        Ok(file)
    }
}
