//! What was changed, in order: a file to which every process appends, and from which every process reads.
//!
//! A change is a line of 28 bytes, so the number of a change says where it stands, and whoever missed some reads on from the
//! last that it knows. That is all it takes for live events, of a worker that did not make the change as of one that did;
//! nobody keeps a queue, so a client that reads slowly costs nothing.
//!
//! The file is the lock of the whole store as well. It is opened anew for each lock, since that belongs to the opening: so it
//! holds between threads as between processes, and the system lets go of it when a process dies.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::fs::{FlockOperation, flock};

/// The bytes of a line: a word, a note, a line feed.
const LINE: u64 = 28;

/// How many changes are read at a time.
const CHANGES_MAX: u64 = 256;

/// The changes of a store.
pub(super) struct Journal {
    path: PathBuf,
    /// To see how long it is.
    file: File,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which one it is, from 1 on. It is the revision of the note from now on.
    pub number: u64,
    /// What became of the note.
    pub what: What,
    /// The note.
    pub note: u64,
}

/// What can become of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is there.
    Created,
    /// It has other words or another file.
    Replaced,
    /// It is gone.
    Deleted,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Waits until nobody else holds the store, and holds it.
    pub(super) fn write(&self) -> io::Result<Held> {
        self.lock(FlockOperation::LockExclusive)
    }

    /// Waits until nobody changes the store, and keeps it as it is.
    pub(super) fn read(&self) -> io::Result<Held> {
        self.lock(FlockOperation::LockShared)
    }

    fn lock(&self, how: FlockOperation) -> io::Result<Held> {
        let file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        rustix::io::retry_on_intr(|| flock(&file, how))?;
        Ok(Held(file))
    }

    /// Whether there is a change behind this one, perhaps one that is just being made. Does not wait.
    pub(super) fn is_behind(&self, number: u64) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() / LINE > number)
    }
}

/// The journal while this process holds it.
pub(super) struct Held(File);

impl Held {
    /// How many changes there were.
    pub(super) fn count(&self) -> io::Result<u64> {
        // A line that its writer did not live to finish does not count, and is overwritten.
        Ok(self.0.metadata()?.len() / LINE)
    }

    pub(super) fn append(&mut self, change: Change) -> io::Result<()> {
        self.0.set_len((change.number - 1) * LINE)?;
        self.0.write_all(line(change).as_bytes())
    }

    /// The next changes behind this one.
    pub(super) fn after(&mut self, number: u64) -> io::Result<Vec<Change>> {
        let count = self.count()?.saturating_sub(number).min(CHANGES_MAX);
        if count == 0 {
            return Ok(Vec::new());
        }
        self.0.seek(SeekFrom::Start(number * LINE))?;
        let mut text = String::new();
        (&self.0).take(count * LINE).read_to_string(&mut text)?;
        let changes = (number + 1..).zip(text.lines()).map(|(number, line)| {
            parse(number, line).ok_or_else(|| io::Error::other(format!("{line:?} is no change of a note")))
        });
        changes.collect()
    }
}

fn line(Change { what, note, .. }: Change) -> String {
    format!("{:<8}{note:>19}\n", what.word())
}

fn parse(number: u64, line: &str) -> Option<Change> {
    let (what, note) = line.split_once(' ')?;
    Some(Change { number, what: what.parse().ok()?, note: note.trim_start().parse().ok()? })
}

impl What {
    const ALL: [Self; 3] = [Self::Created, Self::Replaced, Self::Deleted];

    /// As it is called in the journal and in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
        }
    }
}

impl FromStr for What {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|what| what.word() == word).ok_or(())
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.path).finish()
    }
}
