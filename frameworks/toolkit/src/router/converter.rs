//! Converters: what a field of a template accepts.

use std::{cell::Cell, collections::HashMap, fmt, ops::RangeInclusive, str::FromStr, sync::Arc};

/// Says which texts a field accepts. A function from `&str` to `bool` is one.
///
/// It sees the value percent-decoded. A text that it refuses belongs to another route, or to none; so what takes long,
/// such as looking for a record, is no matter of a converter.
pub trait Convert: Send + Sync + 'static {
    /// Whether the field may be this text, which is never empty but in a `path`.
    fn accepts(&self, text: &str) -> bool;
}

impl<F: Fn(&str) -> bool + Send + Sync + 'static> Convert for F {
    fn accepts(&self, text: &str) -> bool {
        self(text)
    }
}

/// A converter as a template names it.
#[derive(Clone)]
pub(super) struct Converter {
    /// `int(min=1)`: by which two are the same.
    pub(super) spec: Box<str>,
    convert: Arc<dyn Convert>,
}

impl Converter {
    pub(super) fn accepts(&self, text: &str) -> bool {
        self.convert.accepts(text)
    }

    /// Takes any text of one segment.
    pub(super) fn is_plain(&self) -> bool {
        &*self.spec == "str"
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spec)
    }
}

/// The converters that templates may name.
///
/// | name | accepts | arguments |
/// |---|---|---|
/// | `str`, or none | a segment that is not empty | `length`, `min`, `max` in characters |
/// | `int` | an integer of 64 bits, without `+` | `digits` (also `int(2)`), `min`, `max` |
/// | `float` | a finite number | `min`, `max` |
/// | `uuid` | 8-4-4-4-12 hexadecimal digits | |
/// | `dt` | a date and time that exists | `format`: `%Y %m %d %H %M %S %f %z %%` (also `dt("%Y-%m")`); RFC 3339 in UTC if none |
/// | `any` | one of its arguments | the words: `any(de, en)` |
/// | `path` | all the rest, slashes and nothing included; only at the end | |
///
/// ```
/// use varvel_toolkit::router::{Converters, Router};
///
/// let converters = Converters::new().with("slug", |_| {
///     Ok(|text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
/// });
/// let mut router = Router::with_converters(converters);
/// router.add("/posts/{title:slug}", "a post").unwrap();
/// assert!(router.find("/posts/hello-world").is_some());
/// assert!(router.find("/posts/Hello").is_none());
/// ```
#[derive(Clone)]
pub struct Converters(HashMap<Box<str>, Arc<Make>>);

type Make = dyn Fn(&Arguments<'_>) -> Result<Arc<dyn Convert>, String> + Send + Sync;

impl Converters {
    /// Those of the table above.
    pub fn new() -> Self {
        Self(HashMap::new())
            .with("str", text)
            .with("int", integer)
            .with("float", float)
            .with("uuid", |_| Ok(is_uuid))
            .with("dt", date_time)
            .with("any", any)
            .with("path", |_| Ok(|_: &str| true))
    }

    /// Adds one, or replaces one of the same name. `make` is called once for each field, when its route is added, and may
    /// refuse the arguments; those that it has not looked at are refused without it.
    #[must_use]
    pub fn with<C: Convert>(
        mut self,
        name: &str,
        make: impl Fn(&Arguments<'_>) -> Result<C, String> + Send + Sync + 'static,
    ) -> Self {
        let make = move |arguments: &Arguments<'_>| make(arguments).map(|convert| Arc::new(convert) as _);
        self.0.insert(name.into(), Arc::new(make));
        self
    }

    /// The converter of this name with these arguments, as they stand between the parentheses.
    pub(super) fn make(&self, name: &str, arguments: Option<&str>) -> Result<Converter, String> {
        let make = self.0.get(name).ok_or_else(|| format!("there is no converter `{name}`"))?;
        let spec = match arguments {
            Some(arguments) => format!("{name}({arguments})"),
            None => name.to_owned(),
        };
        let arguments = Arguments::parse(arguments.unwrap_or_default())?;
        let convert = make(&arguments).map_err(|reason| format!("`{spec}`: {reason}"))?;
        arguments.all_used().map_err(|argument| format!("`{name}` has no argument `{argument}`"))?;
        Ok(Converter { spec: spec.into(), convert })
    }
}

impl Default for Converters {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Converters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a template gives to a converter: `int(2)`, `int(min=1, max=9)`, `dt("%H:%M")`.
#[derive(Debug)]
pub struct Arguments<'t>(Vec<Argument<'t>>);

#[derive(Debug)]
struct Argument<'t> {
    name: Option<&'t str>,
    value: &'t str,
    used: Cell<bool>,
}

impl<'t> Arguments<'t> {
    fn parse(text: &'t str) -> Result<Self, String> {
        let mut arguments = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let name_end = rest.find(['=', ',', '"']).filter(|end| rest[*end..].starts_with('='));
            let name = name_end.map(|end| rest[..end].trim());
            rest = name_end.map_or(rest, |end| rest[end + 1..].trim_start());
            let value = if let Some(quoted) = rest.strip_prefix('"') {
                let (value, behind) = quoted.split_once('"').ok_or("a quote is not closed")?;
                rest = behind.trim_start();
                value
            } else {
                let (value, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                rest = behind;
                value.trim_end()
            };
            arguments.push(Argument { name, value, used: Cell::new(false) });
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or("arguments are separated by commas")?.trim_start();
            }
        }
        Ok(Self(arguments))
    }

    /// The argument of this name.
    pub fn named(&self, name: &str) -> Option<&'t str> {
        self.take(|argument| argument.name == Some(name))
    }

    /// The first argument, if it has no name.
    pub fn first(&self) -> Option<&'t str> {
        let first = self.0.first().filter(|argument| argument.name.is_none())?;
        first.used.set(true);
        Some(first.value)
    }

    /// All arguments without a name.
    pub fn unnamed(&self) -> impl Iterator<Item = &'t str> {
        self.0.iter().filter(|argument| argument.name.is_none()).map(|argument| {
            argument.used.set(true);
            argument.value
        })
    }

    /// The argument of this name as a value.
    ///
    /// # Errors
    /// If it is there and is not one.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        self.named(name).map(|value| parse(name, value)).transpose()
    }

    fn take(&self, which: impl Fn(&Argument<'_>) -> bool) -> Option<&'t str> {
        let found = self.0.iter().find(|argument| which(argument))?;
        found.used.set(true);
        Some(found.value)
    }

    fn all_used(&self) -> Result<(), &'t str> {
        match self.0.iter().find(|argument| !argument.used.get()) {
            Some(argument) => Err(argument.name.unwrap_or(argument.value)),
            None => Ok(()),
        }
    }
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{name}` cannot be `{value}`"))
}

/// The range that `min` and `max` tell.
fn bounds<T>(arguments: &Arguments<'_>, least: T, most: T) -> Result<RangeInclusive<T>, String>
where
    T: FromStr + PartialOrd,
{
    let range = arguments.parsed("min")?.unwrap_or(least)..=arguments.parsed("max")?.unwrap_or(most);
    if range.is_empty() { Err("nothing lies between `min` and `max`".into()) } else { Ok(range) }
}

fn text(arguments: &Arguments<'_>) -> Result<impl Convert + use<>, String> {
    let length = match arguments.parsed("length")? {
        Some(length) => length..=length,
        None => bounds(arguments, 1, usize::MAX)?,
    };
    let any = length == (1..=usize::MAX);
    Ok(move |text: &str| any || length.contains(&text.chars().count()))
}

fn integer(arguments: &Arguments<'_>) -> Result<impl Convert + use<>, String> {
    let digits: Option<usize> = match arguments.first() {
        Some(first) => Some(parse("digits", first)?),
        None => arguments.parsed("digits")?,
    };
    let bounds = bounds(arguments, i64::MIN, i64::MAX)?;
    Ok(move |text: &str| {
        let is_long_enough = digits.is_none_or(|digits| text.trim_start_matches('-').len() == digits);
        is_long_enough && !text.starts_with('+') && text.parse().is_ok_and(|value| bounds.contains(&value))
    })
}

fn float(arguments: &Arguments<'_>) -> Result<impl Convert + use<>, String> {
    let bounds = bounds(arguments, f64::MIN, f64::MAX)?;
    // Infinity lies in no bounds, and what is not a number compares with nothing.
    Ok(move |text: &str| !text.starts_with('+') && text.parse().is_ok_and(|value| bounds.contains(&value)))
}

fn is_uuid(text: &str) -> bool {
    let is_fitting = |(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => u8::is_ascii_hexdigit(&byte),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_fitting)
}

fn any(arguments: &Arguments<'_>) -> Result<impl Convert + use<>, String> {
    let words: Vec<String> = arguments.unnamed().map(str::to_owned).collect();
    if words.is_empty() {
        return Err("it needs words to choose from".into());
    }
    Ok(move |text: &str| words.iter().any(|word| word == text))
}

fn date_time(arguments: &Arguments<'_>) -> Result<impl Convert + use<>, String> {
    let format = arguments.first().or_else(|| arguments.named("format")).unwrap_or("%Y-%m-%dT%H:%M:%SZ");
    let items = date_time_items(format)?;
    Ok(move |text: &str| is_date_time(&items, text))
}

enum Item {
    Literal(char),
    /// A directive of `strftime`, by its letter.
    Part(char),
}

fn date_time_items(format: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        items.push(match letter {
            '%' => match letters.next() {
                Some('%') => Item::Literal('%'),
                Some(part @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'f' | 'z')) => Item::Part(part),
                Some(other) => return Err(format!("there is no `%{other}`")),
                None => return Err("a `%` stands alone at the end".into()),
            },
            letter => Item::Literal(letter),
        });
    }
    Ok(items)
}

fn is_date_time(items: &[Item], text: &str) -> bool {
    let mut rest = text;
    // Where the format leaves the year or the month out, the day is held against those that have the most.
    let (mut year, mut month, mut day) = (2000, 1, 1);
    for item in items {
        let taken = match item {
            Item::Literal(letter) => rest.strip_prefix(*letter),
            Item::Part('Y') => digits(rest, 4, 0..=9999).map(|(value, behind)| {
                year = value;
                behind
            }),
            Item::Part('m') => digits(rest, 2, 1..=12).map(|(value, behind)| {
                month = value;
                behind
            }),
            Item::Part('d') => digits(rest, 2, 1..=31).map(|(value, behind)| {
                day = value;
                behind
            }),
            Item::Part('H') => digits(rest, 2, 0..=23).map(|(_, behind)| behind),
            Item::Part('M') => digits(rest, 2, 0..=59).map(|(_, behind)| behind),
            // A leap second is a second.
            Item::Part('S') => digits(rest, 2, 0..=60).map(|(_, behind)| behind),
            Item::Part('f') => {
                let behind = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
                (1..=9).contains(&(rest.len() - behind.len())).then_some(behind)
            }
            Item::Part(_) => offset(rest),
        };
        let Some(behind) = taken else { return false };
        rest = behind;
    }
    rest.is_empty() && day <= days_in_month(year, month)
}

/// So many digits, their value, and what is behind them.
fn digits(text: &str, count: usize, range: RangeInclusive<u32>) -> Option<(u32, &str)> {
    let (digits, behind) = text.split_at_checked(count)?;
    let value = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    range.contains(&value).then_some((value, behind))
}

/// `Z`, `+0100` or `+01:00`.
fn offset(text: &str) -> Option<&str> {
    if let Some(behind) = text.strip_prefix('Z') {
        return Some(behind);
    }
    let (_, rest) = digits(text.strip_prefix(['+', '-'])?, 2, 0..=23)?;
    let (_, behind) = digits(rest.strip_prefix(':').unwrap_or(rest), 2, 0..=59)?;
    Some(behind)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A converter as a template writes it, what it accepts, and what it does not.
    #[track_caller]
    fn check(name: &str, arguments: Option<&str>, accepted: &[&str], refused: &[&str]) {
        let converter = Converters::new().make(name, arguments).unwrap();
        for text in accepted {
            assert!(converter.accepts(text), "{} takes {text:?}", converter.spec);
        }
        for text in refused {
            assert!(!converter.accepts(text), "{} refuses {text:?}", converter.spec);
        }
    }

    #[test]
    fn integers() {
        let accepted = ["0", "-5", "007", "9223372036854775807"];
        check("int", None, &accepted, &["", "+5", " 5", "5 ", "1_000", "0x10", "1.0", "9223372036854775808"]);
        check("int", Some("2"), &["42", "-42"], &["7", "123"]);
        check("int", Some("min=1, max=9"), &["1", "9"], &["0", "10", "-1"]);
    }

    #[test]
    fn numbers() {
        check(
            "float",
            None,
            &["1", "-1.5", "1e3", ".5"],
            &["inf", "nan", "infinity", "1e999", "+1", "", "1,5"],
        );
        check("float", Some("max=1"), &["1.0", "-7"], &["1.1"]);
    }

    #[test]
    fn texts_and_words() {
        check("str", None, &["a", "ä/b"], &[]);
        check("str", Some("length=2"), &["ab", "äö"], &["a", "abc"]);
        check("str", Some("max=2"), &["a", "ab"], &["abc"]);
        check("any", Some("de, en"), &["de", "en"], &["fr", "DE", ""]);
    }

    #[test]
    fn uuids() {
        let accepted = ["067e6162-3b6f-4ae2-a171-2470b63dff00", "067E6162-3B6F-4AE2-A171-2470B63DFF00"];
        check(
            "uuid",
            None,
            &accepted,
            &["067e61623b6f4ae2a1712470b63dff00", "g67e6162-3b6f-4ae2-a171-2470b63dff00"],
        );
    }

    #[test]
    fn dates_that_exist() {
        let refused = ["2023-02-29T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01", "2024-01-01T00:00:00Zx"];
        check("dt", None, &["2024-02-29T23:59:60Z", "1999-12-31T00:00:00Z"], &refused);
        check(
            "dt",
            Some("\"%Y-%m-%d\""),
            &["2024-12-31"],
            &["2024-13-01", "2024-04-31", "1900-02-29", "24-12-31"],
        );
        check(
            "dt",
            Some("format=\"%H:%M:%S.%f%z\""),
            &["12:30:00.5+01:00", "00:00:00.123456Z"],
            &["12:30:00.+01:00"],
        );
        check("dt", Some("%d%m"), &["2902", "3112"], &["3002"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let reason = |name, arguments| Converters::new().make(name, Some(arguments)).unwrap_err();
        assert_eq!(reason("integer", ""), "there is no converter `integer`");
        assert_eq!(reason("int", "least=1"), "`int` has no argument `least`");
        assert_eq!(reason("int", "min=x"), "`int(min=x)`: `min` cannot be `x`");
        assert_eq!(
            reason("int", "min=2, max=1"),
            "`int(min=2, max=1)`: nothing lies between `min` and `max`"
        );
        assert_eq!(reason("uuid", "4"), "`uuid` has no argument `4`");
        assert_eq!(reason("dt", "%q"), "`dt(%q)`: there is no `%q`");
        assert_eq!(reason("dt", "\"%Y"), "a quote is not closed");
    }
}
