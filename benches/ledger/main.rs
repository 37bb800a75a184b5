//! What the log costs as it grows: appending, finding and proving an entry, checking all of it, and
//! the memory for that.
//!
//! The entries are synthetic, those of one release after the other. The ledger grows in memory
//! (`--grow-in`), where no commit waits for a disk. At each power of ten it is measured there; a
//! copy of it on a disk (`--disk`) shows what a durable append costs. `make bench` runs
//! this, and docs/explanation/scale.md has figures.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod memory;
mod plot;
mod releases;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use clap::Parser;
use countersign::ledger::Ledger;
use countersign::tlog::note::SignerKey;
use releases::Releases;

/// The first size that is measured, and how many operations a figure is the mean of.
const SAMPLE: u64 = 1000;
/// How many durable appends one is.
const DURABLE: u64 = 300;

/// Measure the log at 1000 entries, at ten times as many, and so on
#[derive(Debug, Parser)]
struct Arguments {
    /// The size at which to end
    #[arg(long, default_value_t = 100_000)]
    entries: u64,
    /// Where the ledger grows, by about 900 bytes for each entry: a folder in memory makes that
    /// fast
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    grow_in: PathBuf,
    /// A folder on the disk for which durable appends are measured [default: that of temporary
    /// files]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Where to draw the figures, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The option that `cargo bench` gives every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured at one size.
struct Row {
    entries: u64,
    /// The size of the database, in bytes.
    bytes: u64,
    /// Appending an entry, without a disk.
    append: Duration,
    /// Appending an entry, until it is on the disk.
    durable: Duration,
    /// Finding the entry that covers a file, proving it, and checking the proof.
    prove: Duration,
    /// How many hashes the longest proof had.
    path: usize,
    /// Maximum memory of the program while it appended and proved, in bytes.
    memory: u64,
    /// Checking the whole log.
    verify: Duration,
    /// Maximum memory of the program while it checked the log, in bytes.
    verify_memory: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let disk = arguments.disk.unwrap_or_else(env::temp_dir);
    let folder = tempfile::tempdir_in(&arguments.grow_in)?;
    let path = folder.path().join("ledger.sqlite");
    let log_key = SignerKey::generate("example.org/countersign-log")?;
    let mut releases = Releases::begin(Ledger::open_or_create(&path)?, &log_key)?;
    let mut rows: Vec<Row> = Vec::new();
    println!("{}", Row::HEADING);
    let sizes = std::iter::successors(Some(SAMPLE), |size| size.checked_mul(10));
    for size in sizes.take_while(|size| *size <= arguments.entries) {
        releases.grow(size)?;
        let row = measure(&mut releases, &path, &disk)?;
        println!("{}", row.line());
        rows.push(row);
    }
    arguments
        .plot
        .map_or(Ok(()), |file| plot::draw(&rows, &file))
}

fn measure(releases: &mut Releases<'_>, path: &Path, disk: &Path) -> Result<Row, Box<dyn Error>> {
    let entries = releases.ledger.size()?;
    memory::forget_peak()?;
    let append = mean(SAMPLE, |n| releases.refuse(n))?;
    let checkpoint = releases.checkpoint()?;
    let mut longest = 0;
    let prove = mean(SAMPLE, |n| {
        longest = longest.max(releases.prove(n, &checkpoint)?);
        Ok(())
    })?;
    let memory = memory::peak()?;
    memory::forget_peak()?;
    let verify = mean(1, |_| releases.verify())?;
    let verify_memory = memory::peak()?;
    let durable = durably(releases, path, disk)?;
    let bytes = fs::metadata(path)?.len();
    Ok(Row {
        entries,
        bytes,
        append,
        durable,
        prove,
        path: longest,
        memory,
        verify,
        verify_memory,
    })
}

/// The time of one durable append to a copy of the ledger on the disk.
fn durably(
    releases: &mut Releases<'_>,
    path: &Path,
    disk: &Path,
) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(disk)?;
    let copy = folder.path().join("ledger.sqlite");
    // Nothing writes now: with its write-ahead log the database is whole.
    for end in ["", "-wal"] {
        let [from, to] = [path, &copy].map(|path| format!("{}{end}", path.display()));
        fs::copy(from, &to)?;
        fs::File::open(to)?.sync_all()?;
    }
    let grown = std::mem::replace(&mut releases.ledger, Ledger::open(&copy)?);
    let durable = mean(DURABLE, |n| releases.refuse(n));
    releases.ledger = grown;
    durable
}

/// The mean time of `times` calls.
fn mean(
    times: u64,
    mut call: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    (0..times).try_for_each(&mut call)?;
    Ok(begun.elapsed().div_f64(times as f64))
}

impl Row {
    const HEADING: &'static str = "\
| entries | database | append | durable append | find, prove, check | hashes in a proof | memory \
| verify | memory for that |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

    fn line(&self) -> String {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let Self {
            entries,
            bytes,
            append,
            durable,
            prove,
            path,
            memory,
            verify,
            verify_memory,
        } = self;
        format!(
            "| {entries} | {} | {:.1} µs | {:.1} ms | {:.1} µs | {path} | {} | {:.2} s | {} |",
            mib(*bytes),
            micros(*append),
            micros(*durable) / 1000.0,
            micros(*prove),
            mib(*memory),
            verify.as_secs_f64(),
            mib(*verify_memory)
        )
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
