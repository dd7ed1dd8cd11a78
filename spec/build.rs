//! Turns `varvel.md` into constants, so that naming a clause that does not exist is an error of the compiler and the
//! text of each clause appears in its documentation.

use std::{env, fs, path::Path, process};

use self::{
    clause::RfcSection,
    parse::{Attributes, Document, Entry, parse},
    references::references,
};

// These files are modules of the library as well, which uses of them what is not used here.
#[allow(dead_code, unreachable_pub)]
#[path = "src/clause.rs"]
mod clause;
#[path = "src/parse.rs"]
mod parse;
#[path = "src/references.rs"]
mod references;

fn main() {
    for path in ["varvel.md", "build.rs", "src/clause.rs", "src/parse.rs", "src/references.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let text = fs::read_to_string("varvel.md").expect("varvel.md stands beside build.rs");
    let document = parse(&text).unwrap_or_else(|error| {
        println!("cargo::error={error}");
        process::exit(1);
    });
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("clauses.rs"), source(&document)).expect("OUT_DIR can be written to");
}

/// The Rust source that `src/lib.rs` includes.
fn source(document: &Document<'_>) -> String {
    let Document { version, capabilities, chapters } = document;
    let mut headings = String::new();
    let mut clauses = String::new();
    let mut retired = String::new();
    let mut ids = String::new();
    let mut index = 0;
    for chapter in chapters {
        let group = chapter.group;
        headings += &format!("({:?}, {:?}),\n", chapter.title, chapter.introduction);
        for (Entry { id, title, line, text, attributes }, number) in chapter.entries.iter().zip(1..) {
            let key = format!("group: Group::{group:?}, number: {number}, id: {id:?}");
            let Some(attributes) = attributes else {
                retired += &format!("RetiredClause {{ {key}, reason: {text:?} }},\n");
                continue;
            };
            let Attributes { level, capabilities, rfc, checks, how } = attributes;
            let rfc: String = rfc
                .iter()
                .map(|(rfc, section)| format!("RfcSection {{ rfc: {rfc}, section: {section:?} }}, "))
                .collect();
            let checks: String = checks.iter().map(|check| format!("CheckKind::{check:?}, ")).collect();
            clauses += &format!(
                "Clause {{ {key}, title: {title:?}, level: Level::{level:?}, text: {text:?}, \
                 capabilities: &{capabilities:?}, rfc: &[{rfc}], checks: &[{checks}], how: {how:?}, line: {line} }},\n"
            );
            let doc = documentation(title, text, attributes);
            ids += &format!("#[doc = {doc:?}]\npub const {id}: &Clause = &CLAUSES[{index}];\n");
            index += 1;
        }
    }
    format!(
        "/// The version of the specification, as (major, minor).\n\
         pub const VERSION: (u16, u16) = {version:?};\n\
         static CAPABILITIES: &[&str] = &{capabilities:?};\n\
         /// Title and introduction, in the order of `Group::ALL`.\n\
         static CHAPTERS: &[(&str, &str)] = &[\n{headings}];\n\
         static RETIRED: &[RetiredClause] = &[\n{retired}];\n\
         static CLAUSES: [Clause; {index}] = [\n{clauses}];\n\
         /// The clauses by their ids. Written from `varvel.md` when the crate is built.\n\
         pub mod ids {{\nuse super::{{CLAUSES, Clause}};\n{ids}}}\n"
    )
}

/// What the documentation of a constant says: the clause, with its references as links.
fn documentation(title: &str, text: &str, attributes: &Attributes) -> String {
    let mut doc = format!("**{title}.** ");
    let mut copied = 0;
    for range in references(text) {
        doc += &text[copied..range.start];
        doc += &format!("[`{}`]", &text[range.clone()]);
        copied = range.end;
    }
    doc += &text[copied..];

    let Attributes { level, capabilities, rfc, checks, how } = attributes;
    let mut facts = vec![format!("`{level}`")];
    facts.extend(capabilities.iter().map(|capability| format!("capability `{capability}`")));
    facts.extend(rfc.iter().map(|(rfc, section)| {
        // The library's sections are constants, hence the leak; the process ends soon.
        let section = RfcSection { rfc: *rfc, section: section.clone().leak() };
        format!("[{section}]({})", section.url())
    }));
    let words: Vec<&str> = checks.iter().map(|check| check.word()).collect();
    let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
    facts.push(format!("checked by {}{how}", words.join(", ")));
    format!("{doc}\n\n{}", facts.join(" · "))
}
