//! A file that names the process, for scripts that send it signals.

use std::{
    fs, io,
    io::ErrorKind,
    path::{Path, PathBuf, absolute},
    process,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// A file with the number of this process; removed on drop if it still names us.
///
/// It is always whole: who reads it finds the number before or the number after, never half of one.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// A forked process drops its copy, too; its parent goes on.
    owner: u32,
}

impl PidFile {
    /// Writes the number of this process to the file at `path`, unless that names the `predecessor`, in whose place this
    /// process is about to serve: then the file stays as it is until [`write`](Self::write).
    ///
    /// # Errors
    /// If it names another process that lives, or cannot be written.
    pub fn claim(path: &Path, predecessor: Option<u32>) -> io::Result<Self> {
        let file = Self { path: absolute(path)?, owner: process::id() };
        match file.read()? {
            Some(pid) if Some(pid) == predecessor => {}
            Some(pid) if pid != file.owner && lives(pid) => {
                let path = path.display();
                let problem =
                    format!("{path} names process {pid}, which is running; stop it or choose another file");
                return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
            }
            _ => file.write()?,
        }
        Ok(file)
    }

    /// Has it name this process.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let mut name = self.path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".{}", self.owner));
        let new = self.path.with_file_name(name);
        fs::write(&new, format!("{}\n", self.owner)).map_err(|error| self.name_in(&error))?;
        fs::rename(&new, &self.path).map_err(|error| {
            let _ = fs::remove_file(&new);
            self.name_in(&error)
        })
    }

    /// The error with the file that it is about.
    fn name_in(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }

    /// Whom it names. `None` if there is no such file, or no number in it.
    fn read(&self) -> io::Result<Option<u32>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.owner == process::id() && self.read().is_ok_and(|named| named == Some(self.owner)) {
            // A file that stays names a process that is gone, which the next start finds out.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether there is such a process, be it somebody else's.
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::scratch_path;

    fn us() -> String {
        format!("{}\n", process::id())
    }

    #[test]
    fn the_file_names_us_and_goes_with_us() {
        let path = scratch_path();
        let file = PidFile::claim(&path, None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), us());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_dead_processes_and_others_have_left_is_replaced() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let path = scratch_path();
        for left in [child.id().to_string(), "no number".to_owned(), String::new(), us()] {
            fs::write(&path, left).unwrap();
            drop(PidFile::claim(&path, None).unwrap());
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_process_that_lives_keeps_its_file() {
        let path = scratch_path();
        fs::write(&path, "1\n").unwrap();
        let error = PidFile::claim(&path, Some(2)).unwrap_err().to_string();
        assert!(error.contains("names process 1, which is running"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_successor_takes_the_file_over_when_it_says_so() {
        let path = scratch_path();
        fs::write(&path, "1\n").unwrap();
        let file = PidFile::claim(&path, Some(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        drop(file);
        assert!(path.exists(), "a successor that fails leaves it");
        let file = PidFile::claim(&path, Some(1)).unwrap();
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), us());
        // As its own successor will.
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(PidFile::claim(Path::new("/nowhere/at/all"), None).is_err());
    }
}
