//! The files in `testdata`: bytes, and what a server must make of them.
//!
//! ```text
//! # Why this case is there.
//! @ header_count_max 2                  a limit other than the default
//! GET / HTTP/1.1\r\n                    bytes: line ends of the file do not count, only escapes do
//! Host: a\r\n
//! X: {a*300}\r\n                        a repeated 300 times
//! \r\n
//! ---
//! what is expected
//! ```
//!
//! Escapes are `\r \n \t \0 \s` (a space, for the end of a line), `\xHH`, `\\`, `\{` and `\#`.

use std::fs;
use std::path::{Path, PathBuf};

use varvel_http1::Config;

/// One file.
pub(crate) struct Vector {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: String,
}

impl Vector {
    /// All files of a folder below `testdata`, by name.
    pub(crate) fn all(folder: &str) -> Vec<Vector> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(Vector::load).collect()
    }

    pub(crate) fn load(path: PathBuf) -> Vector {
        let text = fs::read_to_string(&path).unwrap();
        let (source, expected) =
            text.split_once("---\n").unwrap_or_else(|| panic!("{}: no --- line", path.display()));
        let mut config = Config::default();
        let mut bytes = Vec::new();
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("@ ") {
                Some(setting) => set(&mut config, setting),
                None => unescape(line, &mut bytes),
            }
        }
        Vector { path, config, bytes, expected: expected.to_owned() }
    }

    pub(crate) fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    /// Compares, or with `UPDATE_EXPECT=1` in the environment writes down what was seen. Gives the
    /// difference.
    pub(crate) fn compare(&self, seen: &str) -> Option<String> {
        if seen == self.expected {
            return None;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let text = fs::read_to_string(&self.path).unwrap();
            let source = text.split_once("---\n").unwrap().0;
            fs::write(&self.path, format!("{source}---\n{seen}")).unwrap();
            return None;
        }
        Some(format!("{}\n-- expected\n{}\n-- seen\n{seen}", self.name(), self.expected))
    }
}

fn set(config: &mut Config, setting: &str) {
    let (name, value) = setting.split_once(' ').expect("a name and a value");
    let value: u32 = value.trim().parse().expect("a number");
    let limits = &mut config.limits;
    match name {
        "request_line_bytes_max" => limits.request_line_bytes_max = value,
        "head_bytes_max" => limits.head_bytes_max = value,
        "header_count_max" => limits.header_count_max = value,
        "leading_blank_lines_max" => limits.leading_blank_lines_max = value as u8,
        "body_bytes_max" => limits.body_bytes_max = Some(value.into()),
        "chunk_line_bytes_max" => limits.chunk_line_bytes_max = value,
        "chunk_overhead_bytes_max" => limits.chunk_overhead_bytes_max = value,
        "trailer_bytes_max" => limits.trailer_bytes_max = value,
        "trailer_count_max" => limits.trailer_count_max = value,
        _ => panic!("unknown setting {name}"),
    }
}

/// Adds the bytes that a line with escapes stands for.
pub(crate) fn unescape(line: &str, bytes: &mut Vec<u8>) {
    let mut rest = line.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'\\' => {
                let (code, tail) = rest.split_first().expect("an escape");
                rest = tail;
                bytes.push(match code {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b's' => b' ',
                    b'0' => 0,
                    b'x' => {
                        let (digits, tail) = rest.split_at(2);
                        rest = tail;
                        u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
                    }
                    b'\\' | b'{' | b'#' => *code,
                    _ => panic!("unknown escape in {line}"),
                });
            }
            b'{' => {
                let end = closing_brace(rest);
                let repeat = std::str::from_utf8(&rest[..end]).unwrap();
                rest = &rest[end + 1..];
                let (what, times) = repeat.rsplit_once('*').expect("what*times");
                let mut unit = Vec::new();
                unescape(what, &mut unit);
                bytes.extend(unit.repeat(times.parse().unwrap()));
            }
            byte => bytes.push(*byte),
        }
    }
}

/// The brace that closes the one before `rest`; between them may be further pairs.
fn closing_brace(rest: &[u8]) -> usize {
    let mut open = 1;
    let is_last = |byte: &u8| {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        open == 0
    };
    rest.iter().position(is_last).expect("a closing brace")
}
