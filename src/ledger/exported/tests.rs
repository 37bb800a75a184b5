//! Folders as an export writes them, and as somebody could change them on the way.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::files::{Wait, make_public};
use crate::ledger::Ledger;
use crate::tlog::note::SignerKey;
use crate::tlog::tile::bundle;
use crate::tlog::tree::{Growing, tile_hash};

const LOG: &str = "example.org/log";

/// A log in a folder.
struct Exported {
    temp: tempfile::TempDir,
    key: SignerKey,
    texts: Vec<Vec<u8>>,
}

fn text(index: u64, event: Event) -> Vec<u8> {
    serde_json::to_vec(&Entry {
        index,
        at: Timestamp::from_unix(0),
        event,
    })
    .expect("an entry")
}

fn created(index: u64, key: &SignerKey) -> Vec<u8> {
    text(
        index,
        Event::LogCreated {
            origin: LOG.to_owned(),
            key: key.public().to_string(),
        },
    )
}

fn revoked(index: u64) -> Vec<u8> {
    text(
        index,
        Event::GrantRevoked {
            grant: GrantId::of(b"g"),
            reason: Some(format!("reason {index}")),
        },
    )
}

impl Exported {
    fn of(size: u64) -> Self {
        let key = SignerKey::generate(LOG).expect("a key");
        let texts = (0..size)
            .map(|index| {
                if index == 0 {
                    created(0, &key)
                } else {
                    revoked(index)
                }
            })
            .collect();
        Self::with(key, texts)
    }

    fn with(key: SignerKey, texts: Vec<Vec<u8>>) -> Self {
        let log = Self {
            temp: tempfile::tempdir().expect("a folder"),
            key,
            texts,
        };
        log.write();
        log
    }

    /// Every file anew, from the entries.
    fn write(&self) {
        let size = self.texts.len() as u64;
        let mut hashes = Vec::new();
        let head = self.head(size, |new| hashes.extend(new));
        for tile in Tile::grown(0, size) {
            let mut bytes = Vec::new();
            for index in tile.range() {
                match tile.level {
                    None => bundle(&mut bytes, &self.texts[index as usize]),
                    Some(level) => bytes.extend(hashes[tile_hash(level, index) as usize].0),
                }
            }
            self.put(&tile.path(), &bytes);
        }
        self.put(CHECKPOINT, head.sign(&self.key).as_bytes());
    }

    /// What a checkpoint says of the first entries.
    fn head(&self, size: u64, mut see: impl FnMut(Vec<Hash>)) -> Checkpoint {
        let mut tree = Growing::default();
        self.texts
            .iter()
            .take(size as usize)
            .for_each(|text| see(tree.push(text)));
        Checkpoint {
            size,
            root: tree.root(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    fn open(&self) -> Result<ExportedLog, ExportError> {
        ExportedLog::open(self.temp.path(), self.key.public())
    }

    fn verify(&self, kept: &[(String, Checkpoint)]) -> Result<Checkpoint, ExportError> {
        self.open()?.verify(kept).cloned()
    }

    /// What is wrong, without the path of the folder.
    #[track_caller]
    fn fault(&self) -> String {
        let error = self.verify(&[]).expect_err("refused").to_string();
        error.replace(&format!("{}/", self.temp.path().display()), "")
    }

    /// What is wrong when a file has other bytes; afterwards it is as it was.
    #[track_caller]
    fn fault_with(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let whole = fs::read(self.at(path)).expect("a file");
        let mut bytes = whole.clone();
        change(&mut bytes);
        assert_ne!(bytes, whole);
        self.put(path, &bytes);
        let fault = self.fault();
        self.put(path, &whole);
        self.verify(&[]).expect("as it was");
        fault
    }

    /// What is wrong when the bundles have other entries, but everything else is as it was.
    #[track_caller]
    fn fault_with_entries(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> String {
        let write = |texts: &[Vec<u8>]| {
            let size = self.texts.len() as u64;
            for number in 0..size.div_ceil(WIDTH) {
                let (tile, mut bytes) = (Tile::of(None, number, size), Vec::new());
                let last = number + 1 == size.div_ceil(WIDTH);
                let texts = texts.iter().skip((number * WIDTH) as usize);
                let count = if last { usize::MAX } else { WIDTH as usize };
                texts.take(count).for_each(|text| bundle(&mut bytes, text));
                self.put(&tile.path(), &bytes);
            }
        };
        let mut texts = self.texts.clone();
        change(&mut texts);
        write(&texts);
        let fault = self.fault();
        write(&self.texts);
        self.verify(&[]).expect("as it was");
        fault
    }
}

#[test]
fn a_log_of_any_size_is_read_as_it_was_written() {
    for size in [1, 2, 255, 256, 257, 600] {
        is_read_as_it_was_written(size);
    }
}

/// Of 65,536 entries, the hashes above their tiles fill a tile.
#[test]
fn a_log_of_a_tile_of_tiles_is_read_as_it_was_written() {
    is_read_as_it_was_written(65_537);
}

fn is_read_as_it_was_written(size: u64) {
    let log = Exported::of(size);
    assert_eq!(
        log.verify(&[]).expect("as it was logged"),
        log.head(size, |_| ())
    );
    let mut seen = Vec::new();
    let each = log.open().expect("a log").each(|entry| {
        seen.push(serde_json::to_vec(&entry).expect("an entry"));
        Ok::<_, ExportError>(())
    });
    each.expect("as it was logged");
    assert!(seen == log.texts, "{size}");
}

#[test]
fn what_the_ledger_exports_is_read() {
    let (temp, mut ledger) = Ledger::example();
    let key = SignerKey::generate(LOG).expect("a key");
    let at = Timestamp::from_unix(0);
    ledger.begin(at, &key.public()).expect("begun");
    let folder = temp.path().join("exported");
    let open = make_public(&folder).expect("made");
    for size in [1, 3] {
        for number in ledger.size().expect("a size")..size {
            let grant = GrantId::of(&number.to_be_bytes());
            ledger
                .append(at, Event::example_grant(grant))
                .expect("appended");
        }
        let head = ledger.head().expect("its head");
        ledger
            .export(&open, &key.public(), &head, &head.sign(&key), Wait::NOT)
            .expect("exported");
        assert_eq!(
            ExportedLog::open(&folder, key.public())
                .expect("a log")
                .verify(&[])
                .expect("whole"),
            &head
        );
    }
}

#[test]
fn each_change_to_an_entry_is_found_and_named() {
    let log = Exported::of(600);
    let fault = log.fault_with_entries(|texts| texts[300] = revoked(301));
    assert_eq!(
        fault,
        "entry 300 was altered: its text in `tile/entries/001` and its hash in `tile/0/001` differ"
    );
    // A space, which means nothing in JSON.
    let fault = log.fault_with_entries(|texts| texts[599].push(b' '));
    assert!(
        fault.starts_with("entry 599 was altered: its text in `tile/entries/002.p/88`"),
        "{fault}"
    );
    // Removed; the others move up.
    let fault = log.fault_with_entries(|texts| _ = texts.remove(300));
    assert!(fault.starts_with("entry 300 was altered"), "{fault}");
    let fault = log.fault_with_entries(|texts| _ = texts.pop());
    assert_eq!(
        fault,
        "entry 599 is missing: `tile/entries/002.p/88` ends before the end of it"
    );
    // Put elsewhere: within a file, and from one to another.
    for (one, other) in [(300, 301), (10, 500)] {
        let fault = log.fault_with_entries(|texts| texts.swap(one, other));
        assert!(
            fault.starts_with(&format!("entry {one} was altered")),
            "{fault}"
        );
    }
    // Appended.
    let fault = log.fault_with_entries(|texts| texts.push(revoked(600)));
    assert_eq!(
        fault,
        "`tile/entries/002.p/88` goes on after entry 599, which is the last in it"
    );
    let fault = log.fault_with("tile/entries/001", |bytes| bytes.push(0));
    assert_eq!(
        fault,
        "`tile/entries/001` goes on after entry 511, which is the last in it"
    );
    let fault = log.fault_with("tile/entries/001", |bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(
        fault,
        "entry 511 is missing: `tile/entries/001` ends before the end of it"
    );
    let largest = Tile::of(None, 2, 600).largest();
    let fault = log.fault_with("tile/entries/002.p/88", |bytes| {
        bytes.resize(largest as usize + 1, 0)
    });
    assert_eq!(
        fault,
        "`tile/entries/002.p/88` goes on after entry 599, which is the last in it"
    );
}

#[test]
fn each_change_to_a_file_is_found_and_the_file_named() {
    let log = Exported::of(600);
    // The hash of entry 256 + 7, and of the first 256 entries.
    let fault = log.fault_with("tile/0/001", |bytes| bytes[7 * 32 + 5] ^= 1);
    assert!(
        fault.starts_with("entry 263 was altered") && fault.contains("`tile/0/001`"),
        "{fault}"
    );
    let fault = log.fault_with("tile/1/000.p/2", |bytes| bytes[0] ^= 1);
    assert_eq!(
        fault,
        "`tile/1/000.p/2` has a hash that does not match the entries up to entry 255"
    );
    let names: Vec<String> = Tile::grown(0, 600).map(|tile| tile.path()).collect();
    for name in &names {
        if !name.contains("entries") {
            for change in [
                |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1),
                |bytes: &mut Vec<u8>| bytes.push(0),
            ] {
                let fault = log.fault_with(name, change);
                assert!(
                    fault.starts_with(&format!("`{name}` does not have the ")),
                    "{fault}"
                );
            }
        }
        let bytes = fs::read(log.at(name)).expect("a file");
        fs::remove_file(log.at(name)).expect("removed");
        assert_eq!(log.fault(), format!("`{name}` is missing"));
        log.put("elsewhere", &bytes);
        std::os::unix::fs::symlink(log.at("elsewhere"), log.at(name)).expect("a link");
        assert_eq!(
            log.fault(),
            format!("`{name}` is a symbolic link, not a regular file")
        );
        fs::remove_file(log.at(name)).expect("removed");
        log.put(name, &bytes);
    }
    let fault = log.fault_with(CHECKPOINT, |bytes| bytes[20] ^= 1);
    assert!(fault.starts_with("`checkpoint`: "), "{fault}");
    fs::remove_file(log.at(CHECKPOINT)).expect("removed");
    assert_eq!(log.fault(), "`checkpoint` is missing");
    let nowhere = ExportedLog::open(&log.at("nowhere"), log.key.public()).map(|_| ());
    assert!(matches!(
        nowhere,
        Err(ExportError::File(FileError {
            fault: FileFault::Missing,
            ..
        }))
    ));
}

/// Hashes that are computed again lead to the level above, and at last to the root that was signed.
#[test]
fn who_computes_the_hashes_anew_is_found_further_up() {
    let mut log = Exported::of(600);
    let (note, upper) = (
        fs::read(log.at(CHECKPOINT)).expect("a note"),
        fs::read(log.at("tile/1/000.p/2")).expect("one"),
    );
    log.texts[300] = text(
        300,
        Event::GrantRevoked {
            grant: GrantId::of(b"g"),
            reason: None,
        },
    );
    log.write();
    log.put(CHECKPOINT, &note);
    assert_eq!(
        log.fault(),
        "`checkpoint` has a different root than the 600 entries beside it: they, or it, were \
         changed"
    );
    log.put("tile/1/000.p/2", &upper);
    assert_eq!(
        log.fault(),
        "`tile/1/000.p/2` has a hash that does not match the entries up to entry 511"
    );
    // What no whole file has yet is found by the root alone.
    let mut log = Exported::of(600);
    let note = fs::read(log.at(CHECKPOINT)).expect("a note");
    log.texts[599] = text(
        599,
        Event::GrantRevoked {
            grant: GrantId::of(b"g"),
            reason: None,
        },
    );
    log.write();
    log.put(CHECKPOINT, &note);
    assert!(log.fault().starts_with("`checkpoint` has a different root"));
    // By another key.
    let stranger = Exported::of(600);
    let error = ExportedLog::open(stranger.temp.path(), log.key.public())
        .expect_err("another key")
        .to_string();
    assert!(
        error.ends_with("not signed by `example.org/log`"),
        "{error}"
    );
}

/// A signed checkpoint can have any size; it costs nothing before the first missing file.
#[test]
fn a_checkpoint_of_more_than_there_is_names_the_first_file_that_is_missing() {
    let log = Exported::of(600);
    let root = log.head(600, |_| ()).root;
    for (size, missing) in [
        (601, "tile/entries/002.p/89"),
        (i64::MAX as u64, "tile/1/000"),
        (599, "tile/entries/002.p/87"),
    ] {
        log.put(
            CHECKPOINT,
            Checkpoint { size, root }.sign(&log.key).as_bytes(),
        );
        assert_eq!(log.fault(), format!("`{missing}` is missing"));
    }
}

#[test]
fn what_is_signed_and_yet_no_log_of_ours_is_refused() {
    let key = || SignerKey::generate(LOG).expect("a key");
    let of = |texts: &dyn Fn(&SignerKey) -> Vec<Vec<u8>>| {
        let key = key();
        let texts = texts(&key);
        Exported::with(key, texts).fault()
    };
    let not_begun = "entry 0 does not name the key of the log";
    assert_eq!(of(&|_| vec![]), not_begun);
    assert_eq!(of(&|_| vec![revoked(0)]), not_begun);
    assert!(of(&|_| vec![created(0, &key())]).starts_with("entry 0 names `"));
    assert_eq!(
        of(&|key| vec![created(0, key), created(1, key)]),
        "entry 1 cannot be read: it begins a log that was begun before it"
    );
    assert_eq!(
        of(&|key| vec![created(0, key), revoked(2)]),
        "entry 1 cannot be read: it has index 2"
    );
    assert!(
        of(&|key| vec![created(0, key), b"{}".to_vec()])
            .starts_with("entry 1 cannot be read: missing field")
    );
    assert!(of(&|key| vec![created(0, key), vec![]]).starts_with("entry 1 cannot be read: EOF"));
}

#[test]
fn checkpoints_that_were_kept_are_compared() {
    let mut log = Exported::of(600);
    let kept = |log: &Exported, size| (format!("of {size}"), log.head(size, |_| ()));
    let whole: Vec<_> = [0, 1, 256, 300, 600].map(|size| kept(&log, size)).into();
    log.verify(&whole).expect("it goes on from each");
    let wrong = |size| {
        (
            format!("of {size}"),
            Checkpoint {
                size,
                root: Hash([7; 32]),
            },
        )
    };
    for size in [0, 1, 300, 600] {
        let error = log
            .verify(&[wrong(size)])
            .expect_err("another root")
            .to_string();
        assert!(
            error.starts_with(&format!("checkpoint `of {size}` has a different root")),
            "{error}"
        );
    }
    let error = log.verify(&[wrong(601)]).expect_err("longer").to_string();
    assert_eq!(
        error,
        "checkpoint `of 601` is of 601 entries, but there are 600: entry 600 and those after it \
         are gone"
    );
    // An older export, and one that was made anew.
    log.texts.truncate(500);
    log.write();
    let error = log.verify(&whole).expect_err("it was longer").to_string();
    assert!(
        error.starts_with("checkpoint `of 600` is of 600 entries, but there are 500"),
        "{error}"
    );
    log.texts[299] = text(
        299,
        Event::GrantRevoked {
            grant: GrantId::of(b"g"),
            reason: None,
        },
    );
    log.write();
    log.verify(&whole[..3])
        .expect("it goes on from each before");
    let error = log
        .verify(&whole[..4])
        .expect_err("another root")
        .to_string();
    assert!(
        error.starts_with("checkpoint `of 300` has a different root"),
        "{error}"
    );
}

#[test]
fn an_error_ends_the_entries_that_are_shown() {
    let log = Exported::of(3);
    let mut seen = 0;
    let stopped = log.open().expect("a log").each(|_| {
        seen += 1;
        Err(ExportError::Damaged("enough".into()))
    });
    assert!(stopped.is_err());
    assert_eq!(seen, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bit_of_any_file_can_be_changed(
        size in 1_u64..700,
        file: proptest::sample::Index,
        at: proptest::sample::Index,
        bit in 0_u8..8,
    ) {
        let log = Exported::of(size);
        let mut names: Vec<String> = Tile::grown(0, size).map(|tile| tile.path()).collect();
        names.push(CHECKPOINT.to_owned());
        let path = log.at(&names[file.index(names.len())]);
        let mut bytes = fs::read(&path).expect("a file");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("changed");
        prop_assert!(log.verify(&[]).is_err());
    }

    #[test]
    fn no_bytes_in_place_of_a_file_are_too_strange(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        file: proptest::sample::Index,
    ) {
        let log = Exported::of(20);
        let names = [CHECKPOINT, "tile/entries/000.p/20", "tile/0/000.p/20"];
        log.put(names[file.index(names.len())], &bytes);
        prop_assert!(log.verify(&[]).is_err());
    }
}
