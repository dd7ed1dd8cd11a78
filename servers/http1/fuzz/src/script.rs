//! Decisions read from arbitrary bytes.

/// What a server, a client or time does next. A script that is used up decides everything by 0: the plainest
/// way there is.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A number below `end`, which is at least 1 and at most 65,536.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let low = usize::from(self.byte());
        let number = if end > 256 { usize::from(self.byte()) << 8 | low } else { low };
        number % end
    }

    /// True in one of so many cases.
    pub(crate) fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to `max` bytes, as they are.
    pub(crate) fn bytes(&mut self, max: usize) -> &'a [u8] {
        let length = self.below(max + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// Up to `max` of these characters.
    pub(crate) fn text(&mut self, max: usize, characters: &[u8]) -> String {
        let bytes = self.bytes(max).iter();
        bytes.map(|&byte| char::from(characters[usize::from(byte) % characters.len()])).collect()
    }
}
