//! A log as files that any web server can serve (<https://c2sp.org/tlog-tiles>): the entries in
//! bundles of 256, and the tree in tiles, each the 256 hashes of a level that is 8 higher than the
//! one below.

use super::tree::Hash;

/// The largest entry in a bundle, in bytes.
pub const LARGEST_ENTRY: usize = u16::MAX as usize;
/// Number of entries or hashes in a full file.
pub const WIDTH: u64 = 256;
/// The size of a hash, in bytes.
const HASH: u64 = 32;
/// The name of the checkpoint's file.
pub const CHECKPOINT: &str = "checkpoint";

/// One of these files: its level, its place and the number of entries or hashes in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// The level of its hashes, in steps of 8; `None` for entries.
    pub level: Option<u8>,
    /// Its place in its level, counted from 0.
    pub index: u64,
    /// Number of entries or hashes in it: 1 to 256.
    pub width: u64,
}

impl Tile {
    /// Its path: `tile/0/x001/234.p/17`, `tile/entries/000`.
    pub fn path(&self) -> String {
        let level = self
            .level
            .map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.width == WIDTH {
            String::new()
        } else {
            format!(".p/{}", self.width)
        };
        format!("tile/{level}/{number}{partial}")
    }

    /// The file of a log of `size` entries, which must have one with this index.
    pub fn of(level: Option<u8>, index: u64, size: u64) -> Self {
        let here = size >> (8 * u32::from(level.unwrap_or(0)));
        Self {
            level,
            index,
            width: (here - index * WIDTH).min(WIDTH),
        }
    }

    /// Its size limit in bytes.
    pub fn largest(&self) -> u64 {
        self.width
            * if self.level.is_some() {
                HASH
            } else {
                LARGEST_ENTRY as u64 + 2
            }
    }

    /// The range of its entries, or of its hashes in their level.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.index * WIDTH..self.index * WIDTH + self.width
    }

    /// The files of a log of `new` entries that one of `old` entries does not have: entries, then
    /// hashes from the leaves up.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let levels = (0..8_u8)
            .map(Some)
            .take_while(move |level| new >> (8 * level.unwrap_or(0)) > 0);
        [None].into_iter().chain(levels).flat_map(move |level| {
            let shift = 8 * level.unwrap_or(0);
            let old = old >> shift;
            let new = new >> shift;
            let whole = (old / WIDTH..new / WIDTH).map(move |index| Self {
                level,
                index,
                width: WIDTH,
            });
            let partial = (old != new && !new.is_multiple_of(WIDTH)).then_some(Self {
                level,
                index: new / WIDTH,
                width: new % WIDTH,
            });
            whole.chain(partial)
        })
    }
}

/// Appends an entry to a bundle: its length in two bytes, big-endian, and its bytes.
pub fn bundle(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("no entry is larger");
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
}

/// Takes the first entry off a bundle; nothing if no whole one is left.
pub fn first_entry<'a>(bundle: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bundle.split_first_chunk()?;
    let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *bundle = rest;
    Some(entry)
}

/// The hash at a place in a tile; nothing if it ends before.
pub fn hash_at(tile: &[u8], place: usize) -> Option<Hash> {
    tile.chunks_exact(HASH as usize)
        .nth(place)
        .map(|bytes| Hash(bytes.try_into().expect("it has that length")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn paths(old: u64, new: u64) -> Vec<String> {
        Tile::grown(old, new).map(|tile| tile.path()).collect()
    }

    #[test]
    fn the_example_of_the_specification_is_called_so() {
        assert_eq!(
            Tile {
                level: Some(3),
                index: 1_234_067,
                width: 256
            }
            .path(),
            "tile/3/x001/x234/067"
        );
        assert_eq!(
            Tile {
                level: None,
                index: 1_234_067,
                width: 1
            }
            .path(),
            "tile/entries/x001/x234/067.p/1"
        );
        assert_eq!(
            Tile {
                level: Some(0),
                index: 0,
                width: 255
            }
            .path(),
            "tile/0/000.p/255"
        );
    }

    /// "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0
    /// tile of width 112, one full level 1 tile, one partial level 1 tile of width 17, and one
    /// partial level 2 tile of width 1."
    #[test]
    fn a_tree_has_the_tiles_that_the_specification_counts() {
        let tiles: Vec<Tile> = Tile::grown(0, 70_000)
            .filter(|tile| tile.level.is_some())
            .collect();
        let whole = |level| {
            tiles
                .iter()
                .filter(|tile| tile.level == Some(level) && tile.width == WIDTH)
                .count()
        };
        let partial: Vec<_> = tiles
            .iter()
            .filter(|tile| tile.width < WIDTH)
            .map(|tile| tile.path())
            .collect();
        assert_eq!((whole(0), whole(1), whole(2)), (273, 1, 0));
        assert_eq!(
            partial,
            ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
        );
        assert_eq!(
            paths(0, 256),
            ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
        );
    }

    #[test]
    fn what_grows_has_the_new_files_alone() {
        assert_eq!(paths(0, 0), [""; 0]);
        assert_eq!(paths(5, 5), [""; 0]);
        assert_eq!(paths(5, 7), ["tile/entries/000.p/7", "tile/0/000.p/7"]);
        assert_eq!(
            paths(255, 256),
            ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
        );
        assert_eq!(paths(256, 257), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
        assert_eq!(
            paths(257, 513),
            [
                "tile/entries/001",
                "tile/entries/002.p/1",
                "tile/0/001",
                "tile/0/002.p/1",
                "tile/1/000.p/2"
            ]
        );
    }

    #[test]
    fn an_entry_in_a_bundle_has_its_length_before_it() {
        let mut bytes = Vec::new();
        bundle(&mut bytes, b"abc");
        bundle(&mut bytes, &[7; 300]);
        assert_eq!(
            (&bytes[..5], &bytes[5..7], bytes.len()),
            (&b"\0\x03abc"[..], &[1, 44][..], 307)
        );
    }
    #[test]
    fn each_file_of_a_log_is_the_one_that_its_place_says() {
        for size in [1, 255, 256, 257, 512, 70_000] {
            for tile in Tile::grown(0, size) {
                assert_eq!(Tile::of(tile.level, tile.index, size), tile, "{size}");
            }
        }
        // The first file of a log can be named at every size that a checkpoint can have.
        assert_eq!(
            Tile::of(None, 0, i64::MAX as u64).path(),
            "tile/entries/000"
        );
        assert_eq!(
            Tile::of(Some(7), 0, i64::MAX as u64).path(),
            "tile/7/000.p/127"
        );
    }

    #[test]
    fn the_largest_files_are_those_that_can_be_written() {
        let mut whole = Vec::new();
        (0..3).for_each(|_| bundle(&mut whole, &[0; LARGEST_ENTRY]));
        assert_eq!(
            Tile {
                level: None,
                index: 0,
                width: 3
            }
            .largest(),
            whole.len() as u64
        );
        assert_eq!(
            Tile {
                level: Some(1),
                index: 0,
                width: 256
            }
            .largest(),
            8192
        );
    }

    proptest! {
        #[test]
        fn a_bundle_reads_back_as_it_was_written(
            entries in vec(vec(any::<u8>(), 0..600), 0..20),
            cut in 1_usize..600,
        ) {
            let mut bytes = Vec::new();
            entries.iter().for_each(|entry| bundle(&mut bytes, entry));
            let mut rest = &bytes[..];
            for entry in &entries {
                prop_assert_eq!(first_entry(&mut rest), Some(&entry[..]));
            }
            prop_assert_eq!((first_entry(&mut rest), rest), (None, &[][..]));
            // Without its end, it has fewer, and something is left.
            if let Some(last) = entries.last() {
                let mut rest = &bytes[..bytes.len() - cut.min(last.len() + 1)];
                let whole = std::iter::from_fn(|| first_entry(&mut rest)).count();
                prop_assert_eq!((whole, rest.is_empty()), (entries.len() - 1, false));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..2000), place in 0_usize..70) {
            let mut rest = &bytes[..];
            let read: usize = std::iter::from_fn(|| first_entry(&mut rest))
                .map(|entry| entry.len() + 2)
                .sum();
            prop_assert_eq!(read + rest.len(), bytes.len());
            prop_assert_eq!(hash_at(&bytes, place).is_some(), (place + 1) * 32 <= bytes.len());
        }
    }
}
