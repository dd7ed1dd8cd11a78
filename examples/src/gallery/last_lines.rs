//! The last lines of the access log, for those who have no terminal beside the browser.

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use varvel::app_fn;
use varvel_toolkit::{
    middleware::AccessLog,
    respond,
    routes::{Methods, get},
};

/// Where they are read. Who reads them is not in them.
pub(super) const ADDRESS: &str = "/log";

/// How many are kept, for all workers of the process.
const LINES_MAX: usize = 12;

/// How much of a line is kept: a target may be as long as a head.
const LINE_CHARS_MAX: usize = 400;

#[derive(Clone, Debug, Default)]
pub(super) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// What writes them.
    pub(super) fn access_log(&self) -> AccessLog {
        let lines = self.clone();
        AccessLog::new(move |entry| {
            if entry.target != ADDRESS {
                lines.push(entry.to_string().chars().take(LINE_CHARS_MAX).chain(['\n']).collect());
            }
        })
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What shows them, the last one last.
    pub(super) fn methods(&self) -> Methods {
        let lines = self.clone();
        get(app_fn(move |_request, _scope| {
            let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
            ready(Ok(respond::text(lines.iter().cloned().collect::<String>())))
        }))
    }
}
