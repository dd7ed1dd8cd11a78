//! Where a loop keeps its connections: by small numbers, which are their names for the poller and for wakers.
//!
//! As a slab, but in blocks. A list that doubles would copy a hundred megabytes while its loop has half a million clients
//! to answer, and keep them when these have left; a block is never moved, and given back once it is empty.

/// What a block takes, in bytes: allocators lose nothing on such.
const BLOCK_BYTES: usize = 8 * 1024;

/// Values by their indices.
pub(crate) struct Places<T> {
    blocks: Vec<Block<T>>,
    /// The memory of an empty block, so that none is given back and asked for with every connection that comes and goes.
    spare: Option<Box<[Option<T>]>>,
    /// Indices that are vacant, the last one vacated last.
    vacant: Vec<u32>,
    len: usize,
}

struct Block<T> {
    /// `None` while nothing is in it.
    places: Option<Box<[Option<T>]>>,
    taken: u32,
}

impl<T> Places<T> {
    /// Places in a block.
    const BLOCK: usize = BLOCK_BYTES / size_of::<Option<T>>();

    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), spare: None, vacant: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index that the next value will have.
    pub(crate) fn next_index(&mut self) -> usize {
        if self.vacant.is_empty() {
            let first = self.blocks.len() * Self::BLOCK;
            self.blocks.push(Block { places: None, taken: 0 });
            self.vacant.extend((first..first + Self::BLOCK).rev().map(|index| index as u32));
        }
        self.vacant.last().map_or(0, |index| *index as usize)
    }

    /// Puts a value into the place that was vacated last.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        let index = self.next_index();
        self.vacant.pop();
        let block = &mut self.blocks[index / Self::BLOCK];
        let places = block.places.get_or_insert_with(|| {
            self.spare.take().unwrap_or_else(|| (0..Self::BLOCK).map(|_| None).collect())
        });
        places[index % Self::BLOCK] = Some(value);
        block.taken += 1;
        self.len += 1;
        index
    }

    /// Takes a value out; `None` if there is none.
    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let block = self.blocks.get_mut(index / Self::BLOCK)?;
        let value = block.places.as_mut()?[index % Self::BLOCK].take()?;
        block.taken -= 1;
        if block.taken == 0 {
            self.spare = block.places.take();
        }
        self.vacant.push(index as u32);
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.blocks.get(index / Self::BLOCK)?.places.as_ref()?[index % Self::BLOCK].as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.blocks.get_mut(index / Self::BLOCK)?.places.as_mut()?[index % Self::BLOCK].as_mut()
    }

    /// The indices of all values.
    pub(crate) fn indices(&self) -> Vec<usize> {
        (0..self.blocks.len() * Self::BLOCK).filter(|index| self.get(*index).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_places_however_many_come() {
        let mut places = Places::new();
        for value in 0..1000 {
            assert_eq!(places.next_index(), value);
            assert_eq!(places.insert(value), value);
        }
        let first: *const usize = places.get(0).unwrap();
        (1000..5000).for_each(|value| assert_eq!(places.insert(value), value));
        assert!(std::ptr::eq(first, places.get(0).unwrap()), "nothing is moved as it grows");
        assert_eq!(places.indices(), (0..5000).collect::<Vec<_>>());
    }

    #[test]
    fn the_place_vacated_last_is_given_out_first() {
        let mut places = Places::new();
        ('a'..='z').for_each(|letter| _ = places.insert(letter));
        assert_eq!((places.remove(3), places.remove(3)), (Some('d'), None));
        assert_eq!(places.remove(9), Some('j'));
        assert_eq!((places.insert('J'), places.insert('D')), (9, 3));
        assert_eq!((places.get(9).copied(), places.get_mut(3).copied()), (Some('J'), Some('D')));
    }

    #[test]
    fn a_crowd_that_has_left_leaves_no_memory_behind() {
        let mut places = Places::new();
        (0..10_000).for_each(|value| _ = places.insert([value; 16]));
        (1..10_000).for_each(|index| assert!(places.remove(index).is_some()));
        assert_eq!(places.blocks.iter().filter(|block| block.places.is_some()).count(), 1);
        assert!(places.remove(0).is_some() && places.is_empty());
        assert!(places.get(0).is_none() && places.remove(20_000).is_none());
    }
}
