//! Ids that people type: what they name, and what they may have meant.

use varvel_conformance::{Entry, corpus, entries};
use varvel_lint::{Rule, rules};
use varvel_spec::{Clause, Group, clauses, retired};

use crate::arguments::Selected;

/// What an id names.
pub(crate) enum Named {
    Clause(&'static Clause),
    Chapter(Group),
    Group(corpus::Group),
    Entry(Entry),
    Rule(&'static Rule),
}

/// Finds what has this id. Letter case does not matter.
pub(crate) fn named(id: &str) -> Result<Named, String> {
    let is = |other: &str| other.eq_ignore_ascii_case(id);
    let clause = || clauses().iter().find(|clause| is(clause.id)).map(Named::Clause);
    let chapter = || Group::ALL.into_iter().find(|group| is(&group.letter().to_string())).map(Named::Chapter);
    let group = || corpus::groups().find(|group| is(group.name)).map(Named::Group);
    let entry = || entries().find(|entry| is(&entry.id())).map(Named::Entry);
    let rule = || rules().find(|rule| is(rule.id)).map(Named::Rule);
    clause().or_else(chapter).or_else(group).or_else(entry).or_else(rule).ok_or_else(|| unknown(id))
}

/// What is to be run or listed, in the order of the catalogue: of each option that was given, something holds it.
pub(crate) fn selected(selected: &Selected) -> Result<Vec<Entry>, String> {
    let mut options: Vec<Vec<Named>> = Vec::new();
    for (option, ids) in
        [("clause", &selected.clause), ("group", &selected.group), ("check", &selected.check)]
    {
        let of_option =
            |id: &String| named(id).map_err(|problem| if option == "group" { no_group(id) } else { problem });
        let all: Vec<Named> = ids.iter().map(of_option).collect::<Result<_, _>>()?;
        for (named, id) in all.iter().zip(ids) {
            let (kind, by) = named.kind();
            match by {
                Some(by) if by == option => {}
                Some(by) => return Err(format!("{id} is {kind}; choose it by --{by}")),
                None => {
                    return Err(format!(
                        "{id} is {kind}, which is not run against servers; --explain tells of it"
                    ));
                }
            }
        }
        if !all.is_empty() {
            options.push(all);
        }
    }
    let is_wanted = |entry: &Entry| options.iter().all(|any| any.iter().any(|named| named.holds(*entry)));
    let wanted: Vec<Entry> = entries().filter(is_wanted).collect();
    for (option, ids) in [("clause", &selected.clause), ("group", &selected.group)] {
        let narrowed: Vec<Named> = ids.iter().map(|id| named(id)).collect::<Result<_, _>>()?;
        let is_outside =
            |entry: &Entry| !narrowed.is_empty() && !narrowed.iter().any(|named| named.holds(*entry));
        for id in &selected.check {
            if matches!(named(id)?, Named::Entry(entry) if is_outside(&entry)) {
                return Err(format!("{id} is not for {option} {}", ids.join(", ")));
            }
        }
    }
    match wanted.is_empty() {
        true => Err("nothing is all of that; --list shows what there is".to_owned()),
        false => Ok(wanted),
    }
}

impl Selected {
    /// Whether it leaves everything in.
    pub(crate) fn is_everything(&self) -> bool {
        self.clause.is_empty() && self.group.is_empty() && self.check.is_empty()
    }
}

impl Named {
    fn holds(&self, entry: Entry) -> bool {
        match self {
            Self::Clause(clause) => entry.clauses().contains(clause),
            Self::Chapter(group) => entry.clauses().iter().any(|clause| clause.group == *group),
            Self::Group(group) => entry.group() == group.name,
            Self::Entry(one) => *one == entry,
            Self::Rule(_) => false,
        }
    }

    /// What it is, and the option that chooses it.
    fn kind(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Clause(_) => ("a clause", Some("clause")),
            Self::Chapter(_) => ("a chapter of the specification", Some("group")),
            Self::Group(_) => ("a group of the corpus", Some("group")),
            Self::Entry(Entry::Check(_)) => ("a check", Some("check")),
            Self::Entry(Entry::Vector(_)) => ("a vector", Some("check")),
            Self::Rule(_) => ("a rule of the lint", None),
        }
    }
}

/// How many near misses are named.
const SUGGESTIONS: usize = 3;
/// How alike two ids must be for one to be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.5;

fn no_group(id: &str) -> String {
    let letters: Vec<String> = Group::ALL.iter().map(|group| group.letter().to_string()).collect();
    let groups: Vec<&str> = corpus::groups().map(|group| group.name).collect();
    format!(
        "there is no group called {id:?}; chapters of the specification are {}; groups of the corpus are {}",
        letters.join(", "),
        groups.join(", ")
    )
}

fn unknown(id: &str) -> String {
    if let Some(clause) = retired().iter().find(|clause| clause.id.eq_ignore_ascii_case(id)) {
        return format!("{} is retired: {}", clause.id, clause.reason);
    }
    let letters = Group::ALL.iter().map(|group| group.letter().to_string());
    let groups = corpus::groups().map(|group| group.name.to_owned());
    let ids = clauses().iter().map(|clause| clause.id.to_owned());
    let known = letters.chain(groups).chain(ids).chain(entries().map(Entry::id));
    let known = known.chain(rules().map(|rule| rule.id.to_owned()));
    let likeness = |other: &str| {
        let (one, other) = (id.to_ascii_lowercase(), other.to_ascii_lowercase());
        // Whoever remembers a part of a name means it.
        if one.len() > 2 && other.contains(&one) {
            1.0
        } else {
            strsim::normalized_damerau_levenshtein(&one, &other)
        }
    };
    let mut near: Vec<(f64, String)> = known.map(|other| (likeness(&other), other)).collect();
    near.retain(|(likeness, _)| *likeness > ALIKE);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    let near: Vec<String> = near.into_iter().take(SUGGESTIONS).map(|(_, id)| id).collect();
    match near.is_empty() {
        true => format!("nothing is called {id:?}; --list shows what there is"),
        false => {
            format!("nothing is called {id:?}; did you mean {}? --list shows what there is", near.join(", "))
        }
    }
}
