//! Why a clause is as it is: the places of `rationale.md` that name it.

use crate::{Clause, RATIONALE, references::references};

/// A place in the rationale that is about a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The heading it stands under; mostly a question.
    pub heading: &'static str,
    /// The answer, as Markdown: all of it if the heading names the clause, else the paragraph that does.
    pub text: &'static str,
}

/// How many clauses a paragraph may name and still be about each.
const NAMED_MAX: usize = 6;

impl Clause {
    /// The places of the rationale that name this clause, in their order. Few clauses need a reason.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for section in sections(RATIONALE) {
            if self.is_named_in(section.heading) {
                reasons.push(section);
                continue;
            }
            // A list of many clauses is about none of them.
            let is_about = |text: &&str| self.is_named_in(text) && references(text).count() <= NAMED_MAX;
            let named = paragraphs(section.text).filter(is_about);
            reasons.extend(named.map(|text| Reason { text, ..section }));
        }
        reasons
    }

    /// Whether a text names it: by its id, or by a range of ids such as `H9 to H11`.
    fn is_named_in(&self, text: &str) -> bool {
        let mut previous: Option<(&str, usize)> = None;
        references(text).any(|range| {
            let id = &text[range.clone()];
            let first = match previous {
                Some((first, end)) if text[end..range.start].trim_matches('*') == " to " => first,
                _ => id,
            };
            previous = Some((id, range.end));
            let number = |id: &str| id[1..].parse::<u16>().unwrap_or_default();
            id.starts_with(self.group.letter())
                && first.starts_with(self.group.letter())
                && (number(first)..=number(id)).contains(&self.number)
        })
    }
}

/// The headings, each with the text up to the next one.
fn sections(text: &'static str) -> impl Iterator<Item = Reason> {
    text.split("\n#").skip(1).filter_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        Some(Reason { heading: heading.trim_start_matches('#').trim(), text: text.trim() })
    })
}

/// Paragraphs and items of lists. A list is introduced by a paragraph of its own.
fn paragraphs(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split("\n\n").flat_map(|block| block.split("\n- ")).map(|item| item.trim_start_matches("- ").trim())
}

#[cfg(test)]
mod tests {
    use crate::{Clause, ids};

    fn headings(clause: &Clause) -> Vec<&'static str> {
        clause.reasons().iter().map(|reason| reason.heading).collect()
    }

    #[test]
    fn a_clause_has_the_answers_whose_question_names_it() {
        let reasons = ids::H16.reasons();
        assert!(reasons[0].heading.starts_with("Why is every ambiguity refused"), "{reasons:?}");
        assert!(reasons[0].text.starts_with("Request smuggling"), "{reasons:?}");
        assert!(reasons[0].text.ends_with("section 2.2)."), "all of the answer: {reasons:?}");
    }

    #[test]
    fn a_range_names_what_is_between_its_ends() {
        let question = "Why is 100 (Continue) sent at the first pull? (H9 to H11)";
        for clause in [ids::H9, ids::H10, ids::H11] {
            assert!(headings(clause).contains(&question), "{clause}");
        }
        assert!(!headings(ids::H12).contains(&question));
        assert!(!headings(ids::B10).contains(&question));
    }

    #[test]
    fn of_a_list_only_the_item_that_names_it_is_taken() {
        let reasons = ids::H2.reasons();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert_eq!(reasons[0].text, "**A4** and **H2** say what becomes of a body beside 204 and 304.");
    }
}
