//! The figures that the documents give: how much there is to run, and what others make of it.

use std::fs;

use varvel_conformance::{checks, corpus::vectors};

fn document(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_documents_say_how_much_there_is() {
    let (checks, vectors) = (checks().count() / 100 * 100, vectors().len() / 10 * 10);
    for (path, figure) in [
        ("README.md", format!("some {checks} checks and {vectors} raw requests")),
        ("conformance/suite/README.md", format!("some {vectors} [vectors]")),
        ("conformance/suite/src/lib.rs", format!("some {vectors} vectors")),
        ("conformance/cli/README.md", format!("some {vectors} raw requests")),
    ] {
        assert!(document(path).contains(&figure), "{path} should say {figure:?}");
    }
}

/// Foreign servers are not to be had in every test; what is told of them is told of the corpus as it was then.
#[test]
fn what_others_fail_adds_up_to_the_corpus_that_it_was_measured_with() {
    let readme = document("conformance/cli/README.md");
    let (_, table) = readme.split_once("## What others fail").expect("a heading");
    let (table, _) = table.split_once("\n## ").expect("the next heading");
    let (_, size) = table.split_once("a corpus of ").expect("the size of the corpus");
    let size: usize = size.split(' ').next().and_then(|size| size.parse().ok()).expect("a number");
    assert!(size <= vectors().len(), "it never was as large as {size}");
    let rows: Vec<Vec<usize>> = table
        .lines()
        .map(|line| line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect())
        .filter(|row: &Vec<usize>| !row.is_empty())
        .collect();
    assert!(rows.len() > 1, "{table}");
    for row in rows {
        assert_eq!((row.len(), row.iter().sum()), (5, size), "{row:?}");
    }
}
