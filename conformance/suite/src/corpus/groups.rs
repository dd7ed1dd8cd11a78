//! The files of the corpus.

/// Vectors about one matter: a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name of the file, without its extension.
    pub name: &'static str,
    pub(super) text: &'static str,
}

/// The name and text of each file.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/corpus.rs"));

impl Group {
    /// What it is about: the first paragraph of its file.
    pub fn about(&self) -> String {
        let lines = self.text.lines().skip_while(|line| line.trim().is_empty());
        let lines = lines.take_while(|line| !line.trim().is_empty() && !line.starts_with("##"));
        lines.map(|line| line.trim_start_matches(['#', ' ']).trim_end()).collect::<Vec<_>>().join(" ")
    }
}

/// All groups, by name.
pub fn groups() -> impl Iterator<Item = Group> {
    FILES.iter().map(|(name, text)| Group { name, text })
}
