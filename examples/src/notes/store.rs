//! The notes of a directory, which any number of threads and processes share.
//!
//! ```text
//!   journal         what was changed, in order; the lock of all the rest
//!   notes/12.json   a note
//!   files/12-30     the file of note 12 that change 30 attached
//!   incoming/       files that are still arriving
//! ```
//!
//! A change holds the lock, appends to the journal, and renames what it has written before to where it belongs, so that
//! nobody reads half of anything, and who dies in between leaves at most an event of nothing. Whoever needs more than one
//! file of one moment holds the lock together with other readers.
//!
//! Everything here blocks, for as long as a disk takes: it is called by sync handlers, or offloaded. What is answered has
//! been given to the system, and survives the program; to survive a loss of power it would have to be synced.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::StatusCode;
use varvel::{AppError, FileRegion};
use varvel_toolkit::{
    HttpError,
    conditional::{Validators, Verdict},
    multipart::Limits,
};

use super::{
    journal::{Change, Held, Journal, What},
    note::{Attachment, Draft, Label, Note, Page, Paging, now},
};

/// An [`HttpError`] inside is what the client is told; any other is a failure of ours.
pub type Result<T> = std::result::Result<T, AppError>;

/// The longest file that is taken.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// The notes of a directory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    journal: Journal,
}

impl Store {
    /// The store in this directory, which is made if there is none.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        for part in ["notes", "files", "incoming"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let journal = Journal::open(&directory.join("journal"))?;
        Ok(Self(Arc::new(Inner { directory, journal })))
    }

    /// A part of the list.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self, Paging { after, limit }: Paging) -> Result<Page> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.0.directory.join("notes"))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            ids.extend(id.filter(|id| *id > after));
        }
        ids.sort_unstable();
        let next = ids.get(limit).map(|_| format!("?after={}&limit={limit}", ids[limit - 1]));
        ids.truncate(limit);
        let notes = ids.into_iter().filter_map(|id| self.find(id).transpose());
        Ok(Page { notes: notes.collect::<io::Result<_>>()?, next })
    }

    /// Keeps a new note.
    ///
    /// # Errors
    /// 422 if it cannot be one.
    pub fn create(&self, draft: Draft) -> Result<Note> {
        let Draft { title, text } = draft.check()?;
        let mut held = self.0.journal.write()?;
        let number = held.count()? + 1;
        let note =
            Note { id: number, revision: number, title, text, created: now(), modified: now(), file: None };
        self.commit(&mut held, What::Created, &note)?;
        Ok(note)
    }

    /// A note.
    ///
    /// # Errors
    /// 404 if there is none.
    pub fn read(&self, id: u64) -> Result<Note> {
        Ok(self.find(id)?.ok_or_else(HttpError::not_found)?)
    }

    /// Gives a note other words, if its current version meets the condition.
    ///
    /// # Errors
    /// 404, 412, and 422 as [`create`](Self::create).
    pub fn replace(&self, id: u64, draft: Draft, condition: impl Condition) -> Result<Note> {
        let Draft { title, text } = draft.check()?;
        let (mut held, note) = self.take(id, condition)?;
        let note = Note { revision: held.count()? + 1, title, text, modified: now(), ..note };
        self.commit(&mut held, What::Replaced, &note)?;
        Ok(note)
    }

    /// Deletes a note and its file, if its current version meets the condition.
    ///
    /// # Errors
    /// 404, 412.
    pub fn delete(&self, id: u64, condition: impl Condition) -> Result<()> {
        let (mut held, note) = self.take(id, condition)?;
        held.append(Change { number: held.count()? + 1, what: What::Deleted, note: id })?;
        fs::remove_file(self.note_path(id))?;
        if let Some(old) = note.file {
            fs::remove_file(self.file_path(id, old.revision))?;
        }
        Ok(())
    }

    /// Takes in the content of a file for a note, to be [attached](Self::attach) once all of it is there.
    ///
    /// # Errors
    /// 404 if there is no such note, 413 beyond [`FILE_BYTES_MAX`], and what the content itself fails with.
    pub fn receive(&self, id: u64, content: impl Read) -> Result<Upload> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.read(id)?;
        let name = format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.0.directory.join("incoming").join(name);
        let mut file = File::create_new(&path)?;
        // From here on it is removed again, whatever happens.
        let mut upload = Upload { note: id, path, bytes: 0 };
        upload.bytes = io::copy(&mut content.take(FILE_BYTES_MAX + 1), &mut file)?;
        if upload.bytes > FILE_BYTES_MAX {
            let too_large = HttpError::new(StatusCode::PAYLOAD_TOO_LARGE);
            return Err(too_large.with_detail("A file has at most 16 MiB.").into());
        }
        Ok(upload)
    }

    /// Attaches a file to its note in place of the one it has, if the note's current version meets the condition; and says
    /// whether it is the first.
    ///
    /// # Errors
    /// 404, 412.
    pub fn attach(&self, upload: Upload, label: Label, condition: impl Condition) -> Result<(Note, bool)> {
        let id = upload.note;
        let (mut held, mut note) = self.take(id, condition)?;
        let revision = held.count()? + 1;
        let Label { name, media_type } = label;
        let old = note.file.replace(Attachment { name, media_type, bytes: upload.bytes, revision });
        (note.revision, note.modified) = (revision, now());
        fs::rename(&upload.path, self.file_path(id, revision))?;
        self.commit(&mut held, What::Replaced, &note)?;
        if let Some(old) = &old {
            fs::remove_file(self.file_path(id, old.revision))?;
        }
        Ok((note, old.is_none()))
    }

    /// The file of a note, open.
    ///
    /// # Errors
    /// 404 if there is no such note, or it has none.
    pub fn file(&self, id: u64) -> Result<(Attachment, FileRegion)> {
        let _unchanged = self.0.journal.read()?;
        let attachment = self.read(id)?.file.ok_or_else(HttpError::not_found)?;
        let file = File::open(self.file_path(id, attachment.revision))?;
        let region = FileRegion { file: Arc::new(file), offset: 0, len: attachment.bytes };
        Ok((attachment, region))
    }

    /// The number of the last change, and 0 if there was none.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn last_change(&self) -> io::Result<u64> {
        self.0.journal.read()?.count()
    }

    /// Whether there might be a change behind this one. Does not block.
    ///
    /// # Errors
    /// If the journal is lost.
    pub fn is_behind(&self, number: u64) -> io::Result<bool> {
        self.0.journal.is_behind(number)
    }

    /// The next changes behind this one, all of which have been made.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn changes_after(&self, number: u64) -> io::Result<Vec<Change>> {
        self.0.journal.read()?.after(number)
    }

    /// Holds the store for a change of a note whose version meets the condition.
    fn take(&self, id: u64, condition: impl Condition) -> Result<(Held, Note)> {
        let held = self.0.journal.write()?;
        let note = self.read(id)?;
        match condition(Some(&note.validators())) {
            Verdict::Proceed => Ok((held, note)),
            Verdict::NotModified | Verdict::Failed => {
                Err(HttpError::new(StatusCode::PRECONDITION_FAILED).into())
            }
        }
    }

    /// Makes a change: what can fail comes first.
    fn commit(&self, held: &mut Held, what: What, note: &Note) -> Result<()> {
        let temporary = self.0.directory.join("incoming").join(format!("note-{}", note.revision));
        fs::write(&temporary, serde_json::to_vec(note)?)?;
        held.append(Change { number: note.revision, what, note: note.id })?;
        Ok(fs::rename(&temporary, self.note_path(note.id))?)
    }

    fn find(&self, id: u64) -> io::Result<Option<Note>> {
        match fs::read(self.note_path(id)) {
            Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn note_path(&self, id: u64) -> PathBuf {
        self.0.directory.join("notes").join(format!("{id}.json"))
    }

    fn file_path(&self, id: u64, revision: u64) -> PathBuf {
        self.0.directory.join("files").join(format!("{id}-{revision}"))
    }
}

/// How large a form with a file may be: with room for what else is in it.
pub fn form_limits() -> Limits {
    Limits { total_bytes: FILE_BYTES_MAX + (1 << 20), part_bytes: FILE_BYTES_MAX, ..Limits::default() }
}

/// What a request demands of the current version of a note: [`evaluate`](varvel_toolkit::conditional::evaluate) with its
/// method and fields.
pub trait Condition: FnOnce(Option<&Validators>) -> Verdict {}

impl<C: FnOnce(Option<&Validators>) -> Verdict> Condition for C {}

/// A file that has arrived. Unless it is attached, it is removed.
#[derive(Debug)]
pub struct Upload {
    note: u64,
    path: PathBuf,
    bytes: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is gone from here if it was attached.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use http::{HeaderMap, HeaderValue, Method};
    use varvel_toolkit::conditional::evaluate;

    use super::*;

    fn draft(title: &str) -> Draft {
        Draft { title: title.to_owned(), text: String::new() }
    }

    /// A directory of the test's own, which several open, as worker processes do.
    fn in_directory(test: &str, check: impl FnOnce(&dyn Fn() -> Store)) {
        let directory = std::env::temp_dir().join(format!("varvel-{test}-{}", process::id()));
        // A test that failed left its own, perhaps in a process of the same number.
        let _ = fs::remove_dir_all(&directory);
        check(&|| Store::open(&directory).unwrap());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn who_writes_at_the_same_time_gets_numbers_of_his_own() {
        in_directory("numbers", |open| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    let store = open();
                    thread::spawn(move || {
                        (0..25).map(|_| store.create(draft("x")).unwrap().id).collect::<Vec<_>>()
                    })
                })
                .collect();
            let ids: BTreeSet<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
            assert_eq!(ids, (1..=100).collect());
            let changes = open().changes_after(0).unwrap();
            let created = |id| Change { number: id, what: What::Created, note: id };
            assert_eq!(changes, (1..=100).map(created).collect::<Vec<_>>());
        });
    }

    #[test]
    fn of_those_who_change_the_same_revision_one_has_his_way() {
        in_directory("revision", |open| {
            let note = open().create(draft("first")).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("if-match", HeaderValue::from(note.etag()));
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    let (store, headers) = (open(), headers.clone());
                    thread::spawn(move || {
                        let condition =
                            |current: Option<&Validators>| evaluate(&Method::PUT, &headers, current);
                        store.replace(note.id, draft(&n.to_string()), condition)
                    })
                })
                .collect();
            let replaced: Vec<_> =
                writers.into_iter().filter_map(|writer| writer.join().unwrap().ok()).collect();
            assert_eq!(replaced, [open().read(note.id).unwrap()]);
        });
    }

    #[test]
    fn a_line_that_was_not_finished_is_written_anew() {
        in_directory("line", |open| {
            let store = open();
            store.create(draft("before")).unwrap();
            let journal = store.0.directory.join("journal");
            let whole = fs::read(&journal).unwrap();
            fs::write(&journal, [&whole[..], b"created   "].concat()).unwrap();
            assert_eq!(store.changes_after(0).unwrap().len(), 1);
            assert_eq!(
                (store.create(draft("behind")).unwrap().id, store.changes_after(1).unwrap().len()),
                (2, 1)
            );
        });
    }

    #[test]
    fn what_does_not_arrive_whole_leaves_nothing() {
        in_directory("arrive", |open| {
            let store = open();
            let id = store.create(draft("x")).unwrap().id;
            let breaks_off = b"some".chain(Broken);
            assert!(store.receive(id, breaks_off).is_err());
            assert!(store.receive(id, io::repeat(0)).is_err());
            drop(store.receive(id, &b"whole, and refused"[..]).unwrap());
            assert_eq!(fs::read_dir(store.0.directory.join("incoming")).unwrap().count(), 0);
        });
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
}
