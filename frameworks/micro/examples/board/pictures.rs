//! Uploaded pictures, each in a file under a name of ours.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use varvel_micro::{Blocking, Error, HttpError, StatusCode, multipart::Part};

pub(crate) struct Pictures {
    directory: PathBuf,
    next: AtomicU64,
}

impl Pictures {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), next: AtomicU64::new(0) })
    }

    /// Writes a picture into a file, whose name it returns; `None` if the browser has sent none.
    pub(crate) fn save(&self, mut part: Part<'_, Blocking>) -> Result<Option<String>, Error> {
        let media_type = part.media_type().map(|media_type| media_type.to_string());
        let Some(first) = part.chunk()? else { return Ok(None) };
        let extension = match media_type.as_deref() {
            Some("image/png") => "png",
            Some("image/jpeg") => "jpg",
            _ => {
                let error = HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
                return Err(error.with_detail("A picture is a PNG or a JPEG.").into());
            }
        };
        let (name, mut file) = self.create(extension)?;
        let written = file.write_all(&first).and_then(|()| io::copy(&mut part, &mut file));
        if let Err(error) = written {
            // The browser left, or the picture is too large.
            let _ = fs::remove_file(self.directory.join(name));
            return Err(error.into());
        }
        Ok(Some(name))
    }

    /// A file that was not there.
    fn create(&self, extension: &str) -> io::Result<(String, File)> {
        loop {
            let name = format!("{}.{extension}", self.next.fetch_add(1, Ordering::Relaxed));
            match File::create_new(self.directory.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok((name, file?)),
            }
        }
    }
}
