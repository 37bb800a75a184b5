//! What is read, written and remembered, on an inbox and releases that are in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;

use super::*;
use crate::files::Folder;
use crate::location::{Published, Stage, Swept, Unsettled};
use crate::openpgp::Certificate;
use crate::steps::Unwatched;
use crate::steps::release::policy::VerifierPolicy;

const NAME: &str = "foo-1.2.3";

/// The release among the test data, which may be changed.
#[derive(Clone)]
struct Release {
    files: BTreeMap<String, Vec<u8>>,
    /// A file that has this many zeros behind its bytes.
    sparse: Option<(String, u64)>,
    /// Whether they come only while it is read: its size says nothing of them.
    grows: bool,
    /// A file that cannot be read.
    broken: Option<String>,
    /// A file that is a link.
    link: Option<String>,
}

impl Release {
    fn genuine() -> Self {
        let folder = data().join(NAME);
        let folder = Folder::open(&folder).expect("the test data");
        let names = Source::names(&folder, 99).expect("listed").expect("known");
        let read = |name: String| {
            let bytes = Source::read(&folder, &name, 1 << 20).expect("read");
            (name, bytes)
        };
        Self {
            files: names.into_iter().map(read).collect(),
            sparse: None,
            grows: false,
            broken: None,
            link: None,
        }
    }

    fn artifacts(&self) -> Vec<String> {
        let names = self.files.keys().filter(|name| {
            !name.contains('/') && !name.starts_with(SUMS) && !name.ends_with(".asc")
        });
        names.cloned().collect()
    }
}

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/release"))
}

impl Source for Release {
    fn open(&self, name: &str, limit: u64) -> Result<(u64, Box<dyn Read + '_>), Fault> {
        if self.link.as_deref() == Some(name) {
            let place = format!("`/srv/inbox/{NAME}/{name}` is a symbolic link");
            return Err(Fault::Strange(place));
        }
        if self.broken.as_deref() == Some(name) {
            return Err(Fault::Unreachable("an error of the disk".into()));
        }
        let bytes = self.files.get(name);
        let bytes = bytes.ok_or_else(|| Fault::Missing(name.to_owned()))?;
        let zeros = match &self.sparse {
            Some((sparse, zeros)) if sparse == name => *zeros,
            _ => 0,
        };
        let all = Cursor::new(bytes).chain(io::repeat(0).take(zeros));
        let bounded = Bounded { all, left: limit };
        let size = if self.grows { 0 } else { zeros };
        Ok((bytes.len() as u64 + size, Box::new(bounded)))
    }

    fn names(&self, _: usize) -> Result<Option<Vec<String>>, Fault> {
        Ok(Some(self.files.keys().cloned().collect()))
    }

    fn shown(&self) -> String {
        NAME.to_owned()
    }
}

struct Bounded<R> {
    all: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.all.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::from(Fault::TooLarge("too large".into())))?;
        Ok(count)
    }
}

/// A submission, which counts how often it was read.
struct Submitted {
    name: &'static str,
    release: Release,
    read: Cell<usize>,
    state: Cell<u32>,
    note: RefCell<Option<String>>,
    removed: Cell<bool>,
}

impl Submitted {
    fn new(name: &'static str, release: Release) -> Self {
        Self {
            name,
            release,
            read: Cell::new(0),
            state: Cell::new(0),
            note: RefCell::new(None),
            removed: Cell::new(false),
        }
    }
}

impl Submission for Submitted {
    fn name(&self) -> &str {
        self.name
    }

    fn place(&self) -> String {
        format!("/srv/inbox/{}", self.name)
    }

    fn source(&self) -> Result<&dyn Source, Fault> {
        self.read.set(self.read.get() + 1);
        Ok(&self.release)
    }

    fn state(&self) -> Option<String> {
        Some(self.state.get().to_string())
    }

    fn refusal(&self) -> Option<String> {
        self.note.borrow().clone()
    }

    fn refuse(&self, reason: &str) -> Result<(), Fault> {
        self.note.replace(Some(reason.to_owned()));
        Ok(())
    }

    fn report(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn remove(&self) -> Result<(), Fault> {
        self.removed.set(true);
        Ok(())
    }
}

impl Inbox for Vec<Submitted> {
    fn each(&self, take: &mut dyn FnMut(&dyn Submission)) -> Result<(), Fault> {
        self.iter()
            .filter(|submission| !submission.removed.get())
            .for_each(|submission| take(submission));
        Ok(())
    }

    fn sweep_older(&self, _: Timestamp) -> Result<Swept, Fault> {
        Ok(Vec::new())
    }
}

/// Releases, and how much was written on the way to them.
#[derive(Default)]
struct Shelf {
    releases: RefCell<BTreeMap<String, Release>>,
    records: RefCell<BTreeMap<String, Vec<u8>>>,
    staged: Cell<usize>,
    written: RefCell<BTreeMap<String, u64>>,
}

struct Staged<'a> {
    shelf: &'a Shelf,
    name: String,
    record: String,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
}

struct Copied<'a>(&'a Staged<'a>, String);

impl Write for Copied<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.shelf.written.borrow_mut();
        *written.entry(self.1.clone()).or_default() += bytes.len() as u64;
        let mut files = self.0.files.borrow_mut();
        files.entry(self.1.clone()).or_default().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for Staged<'_> {
    fn file(&self, name: &str) -> Result<Box<dyn Write + '_>, Fault> {
        self.files.borrow_mut().insert(name.to_owned(), Vec::new());
        Ok(Box::new(Copied(self, name.to_owned())))
    }

    fn publish(self: Box<Self>) -> Result<Published, Fault> {
        let release = Release {
            files: self.files.into_inner(),
            sparse: None,
            grows: false,
            broken: None,
            link: None,
        };
        let mut releases = self.shelf.releases.borrow_mut();
        releases.insert(self.name.clone(), release);
        let mut records = self.shelf.records.borrow_mut();
        records.insert(self.name, self.record.into_bytes());
        Ok(Published::New)
    }
}

impl Releases for Shelf {
    fn stage(
        &self,
        name: &str,
        record: &str,
        _succeeds: bool,
    ) -> Result<Box<dyn Stage + '_>, Fault> {
        self.staged.set(self.staged.get() + 1);
        Ok(Box::new(Staged {
            shelf: self,
            name: name.to_owned(),
            record: record.to_owned(),
            files: RefCell::default(),
        }))
    }

    fn release(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault> {
        let release = self.releases.borrow().get(name).cloned();
        Ok(release.map(|release| Box::new(release) as Box<dyn Source>))
    }

    fn record(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.records.borrow().get(name).cloned())
    }

    fn sweep_older(&self, _: Timestamp) -> Result<Swept, Fault> {
        Ok(Vec::new())
    }

    fn unsettled(&self) -> Result<Unsettled, Fault> {
        let releases = self.releases.borrow();
        let records = self.records.borrow();
        let without = releases.keys().filter(|name| !records.contains_key(*name));
        Ok(Unsettled {
            unrecorded: without.cloned().collect(),
            withdrawn: Vec::new(),
        })
    }

    fn stage_withdrawal(&self, name: &str) -> Result<Box<dyn Stage + '_>, Fault> {
        self.stage(&format!("{name}.withdrawal"), "", false)
    }

    fn withdrawal(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault> {
        self.release(&format!("{name}.withdrawal"))
    }

    fn set_aside(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.releases.borrow_mut().remove(name).is_some())
    }

    fn keep_record(&self, name: &str, record: &str) -> Result<(), Fault> {
        let mut records = self.records.borrow_mut();
        records.insert(name.to_owned(), record.as_bytes().to_vec());
        Ok(())
    }
}

fn run_at(inbox: &Vec<Submitted>, shelf: &Shelf, now: Timestamp) -> Vec<Judged> {
    run_with(inbox, shelf, &VerifierPolicy::default(), now)
}

fn run_with(
    inbox: &Vec<Submitted>,
    shelf: &Shelf,
    policy: &VerifierPolicy,
    now: Timestamp,
) -> Vec<Judged> {
    let certificate = std::fs::read(data().join("release.pgp")).expect("the test data");
    let certificate = Certificate::parse(&certificate).expect("a certificate");
    let mut all = Vec::new();
    admit(
        inbox,
        shelf,
        &Verifier {
            certificate: &certificate,
            policy,
            now,
        },
        &mut Unwatched,
        &mut |judged| {
            all.push(judged);
        },
    )
    .expect("judged");
    all
}

fn run(inbox: &Vec<Submitted>, shelf: &Shelf) -> Vec<Judged> {
    run_at(inbox, shelf, Timestamp::now())
}

/// The only submission is refused for this reason.
#[track_caller]
fn refused(judged: &[Judged], reason: &str) {
    let [
        Judged {
            result: Err(error), ..
        },
    ] = judged
    else {
        panic!("{judged:?}")
    };
    assert!(error.to_string().contains(reason), "{error}");
}

fn admitted(judged: &[Judged]) -> usize {
    judged.iter().filter(|judged| judged.result.is_ok()).count()
}

// ---- What is written ----

#[test]
fn nothing_is_written_before_all_but_the_artifacts_is_verified() {
    let genuine = Release::genuine();
    let artifacts = genuine.artifacts();
    let is_read_later = |name: &str| artifacts.iter().any(|artifact| name.starts_with(artifact));
    let mut changed = Vec::new();
    for name in genuine.files.keys().filter(|name| !is_read_later(name)) {
        let mut flipped = genuine.clone();
        let bytes = flipped.files.get_mut(name).expect("a file");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        let mut without = genuine.clone();
        without.files.remove(name);
        changed.extend([(NAME, flipped), (NAME, without)]);
    }
    assert!(changed.len() >= 12, "{}", changed.len());
    let mut more = genuine.clone();
    more.files.insert("more".to_owned(), Vec::new());
    changed.push((NAME, more));
    changed.push(("foo-1.2.4", genuine.clone()));
    for (name, release) in changed {
        let shelf = Shelf::default();
        let judged = run(&vec![Submitted::new(name, release)], &shelf);
        assert_eq!(admitted(&judged), 0);
        assert_eq!(shelf.staged.get(), 0, "{judged:?}");
    }

    let shelf = Shelf::default();
    let judged = run(&vec![Submitted::new(NAME, genuine.clone())], &shelf);
    assert_eq!(admitted(&judged), 1, "{judged:?}");
    assert_eq!(shelf.releases.borrow()[NAME].files, genuine.files);
}

/// By its name before the evidence is read, by what the evidence shows after that was verified, and
/// in either case before anything is written.
#[test]
fn the_policy_is_judged_between_the_list_and_what_it_is_about() {
    let genuine = Release::genuine();
    let mut changed = genuine.clone();
    let grant = changed.files.get_mut("evidence/grant.json");
    grant.expect("the grant")[0] ^= 1;
    let policy = |rules: &str| {
        let text = format!(r#"{{"format":"countersign-policy/1",{rules}}}"#);
        VerifierPolicy::parse(text.as_bytes()).expect("a policy")
    };
    let other = policy(r#""projects":{"bar":{}}"#);
    let two = policy(r#""all":{"quorum":2}"#);
    for (release, policy, reason) in [
        (&genuine, &other, "the policy accepts bar"),
        (&changed, &other, "the policy accepts bar"),
        (&genuine, &two, "the policy requires 2"),
        (&changed, &two, "`evidence/grant.json` has SHA-256"),
    ] {
        let shelf = Shelf::default();
        let inbox = vec![Submitted::new(NAME, release.clone())];
        let now = Timestamp::now();
        refused(&run_with(&inbox, &shelf, policy, now), reason);
        assert_eq!(shelf.staged.get(), 0);
        // Under the same policy it is not read again, under another one it is.
        refused(&run_with(&inbox, &shelf, policy, now), reason);
        let plain = run_at(&inbox, &shelf, now);
        assert_eq!(admitted(&plain) == 1, std::ptr::eq(release, &genuine));
    }
}

#[test]
fn nothing_behind_a_bad_artifact_is_copied() {
    let genuine = Release::genuine();
    let artifacts = genuine.artifacts();
    let (first, last) = (&artifacts[0], &artifacts[artifacts.len() - 1]);
    assert_ne!(first, last);
    let mut release = genuine.clone();
    release.files.get_mut(first).expect("a file")[0] ^= 1;
    let shelf = Shelf::default();
    refused(
        &run(&vec![Submitted::new(NAME, release)], &shelf),
        "has SHA-256",
    );
    let written = shelf.written.borrow();
    assert!(!written.contains_key(last), "{written:?}");
    assert!(
        !written.contains_key(&format!("{first}.asc")),
        "{written:?}"
    );
    assert!(shelf.records.borrow().is_empty());
}

/// A sparse file takes no space in the inbox, and all of it among the releases.
#[test]
fn no_more_of_an_artifact_is_copied_than_its_listed_size() {
    let genuine = Release::genuine();
    let name = &genuine.artifacts()[0];
    let size = genuine.files[name].len() as u64;
    for (grows, most, reason) in [(false, 0, "bytes, but"), (true, size, "too large")] {
        let mut release = genuine.clone();
        release.sparse = Some((name.clone(), 1 << 40));
        release.grows = grows;
        let shelf = Shelf::default();
        refused(&run(&vec![Submitted::new(NAME, release)], &shelf), reason);
        let written = shelf.written.borrow().get(name).copied().unwrap_or(0);
        assert!(written <= most, "{written}");
        assert!(shelf.releases.borrow().is_empty());
    }
}

// ---- Submissions beside others ----

#[test]
fn an_error_in_one_submission_keeps_no_other_waiting() {
    let genuine = Release::genuine();
    for name in genuine.files.keys() {
        let mut broken = genuine.clone();
        broken.broken = Some(name.clone());
        let shelf = Shelf::default();
        let inbox = vec![
            Submitted::new(NAME, broken),
            Submitted::new("foo-1.2.4", genuine.clone()),
            Submitted::new(NAME, genuine.clone()),
        ];
        let judged = run(&inbox, &shelf);
        let trouble = judged[0].result.as_ref().expect_err("an error");
        assert!(
            trouble.is_trouble() && !judged[0].noted,
            "{name}: {trouble}"
        );
        assert_eq!(admitted(&judged), 1, "{judged:?}");
        assert!(inbox[2].removed.get() && !inbox[0].removed.get());
    }
}

#[test]
fn what_was_refused_and_did_not_change_is_not_read_again() {
    let genuine = Release::genuine();
    let mut changed = genuine.clone();
    changed.files.get_mut(SUMS).expect("a list")[0] ^= 1;
    let shelf = Shelf::default();
    let inbox = vec![Submitted::new(NAME, changed)];
    let now = Timestamp::from_unix(4_000_000_000 / 3600 * 3600);
    let run = || run_at(&inbox, &shelf, now);
    let read = || inbox[0].read.replace(0);

    refused(&run(), "the signature does not match");
    assert_eq!(read(), 1);
    refused(&run(), "the signature does not match");
    assert_eq!(read(), 0);

    inbox[0].state.set(1);
    refused(&run(), "the signature does not match");
    assert_eq!(read(), 1, "it changed");
    inbox[0].note.replace(None);
    run();
    assert_eq!(read(), 1, "nothing is remembered elsewhere");
    let note = inbox[0].note.borrow().clone().expect("a note");
    inbox[0]
        .note
        .replace(Some(note.replace("state: ", "state: 0")));
    run();
    assert_eq!(read(), 1, "a note of another state");
    shelf.keep_record(NAME, "what is recorded").expect("kept");
    run();
    assert_eq!(read(), 1, "something of its name was admitted");
    let later = Timestamp::from_unix(i64::from(now.unix() + 3600));
    run_at(&inbox, &shelf, later);
    assert_eq!(read(), 1, "a clock may have been behind");
}

#[test]
fn a_note_does_not_say_where_the_inbox_is() {
    let genuine = Release::genuine();
    for name in [SUMS.to_owned(), genuine.artifacts()[0].clone()] {
        let mut release = genuine.clone();
        release.link = Some(name.clone());
        let inbox = vec![Submitted::new(NAME, release)];
        refused(&run(&inbox, &Shelf::default()), "`/srv/inbox/foo-1.2.3/");
        let note = inbox[0].note.borrow().clone().expect("a note");
        assert!(
            note.contains(&format!("`{name}` is a symbolic link")),
            "{note}"
        );
        assert!(!note.contains("/srv"), "{note}");
    }
}

// ---- What is remembered ----

#[test]
fn a_refusal_for_what_is_among_the_releases_ends_with_it() {
    let genuine = Release::genuine();
    let shelf = Shelf::default();
    let inbox = vec![Submitted::new(NAME, genuine.clone())];
    let now = Timestamp::now();
    let mut other = genuine.clone();
    other.files.remove(SUMS);
    shelf.releases.borrow_mut().insert(NAME.to_owned(), other);
    refused(&run_at(&inbox, &shelf, now), "another release `foo-1.2.3`");
    shelf.releases.borrow_mut().clear();
    assert_eq!(admitted(&run_at(&inbox, &shelf, now)), 1);

    // Withdrawn by mistake, and brought back.
    let there = shelf.releases.borrow_mut().remove(NAME).expect("there");
    let inbox = vec![Submitted::new(NAME, genuine)];
    refused(&run_at(&inbox, &shelf, now), "was moved away since");
    shelf.releases.borrow_mut().insert(NAME.to_owned(), there);
    assert_eq!(admitted(&run_at(&inbox, &shelf, now)), 1);
}

#[test]
fn a_release_that_cannot_be_read_is_not_passed_over() {
    let certificate = std::fs::read(data().join("release.pgp")).expect("the test data");
    let certificate = Certificate::parse(&certificate).expect("a certificate");
    let verifier = Verifier {
        certificate: &certificate,
        policy: &VerifierPolicy::default(),
        now: Timestamp::now(),
    };
    let admit = |name: &str, file: &str| {
        let mut release = Release::genuine();
        release.broken = Some(file.to_owned());
        let shelf = Shelf::default();
        shelf.releases.borrow_mut().insert(name.to_owned(), release);
        let none: Vec<Submitted> = Vec::new();
        admit(&none, &shelf, &verifier, &mut Unwatched, &mut |_| {})
    };
    for file in [SUMS, "evidence/grant.json"] {
        let error = admit(NAME, file).expect_err("it would have no record");
        assert!(error.is_trouble(), "{error}");
        admit("lost+found", file).expect("no release");
    }
}

#[test]
fn a_withdrawn_release_is_not_admitted_again_and_no_other_takes_its_name() {
    let genuine = Release::genuine();
    let shelf = Shelf::default();
    let submitted = || vec![Submitted::new(NAME, genuine.clone())];
    assert_eq!(admitted(&run(&submitted(), &shelf)), 1);
    assert_eq!(shelf.staged.replace(0), 1);

    // The same again, while it is there.
    let again = run(&submitted(), &shelf);
    assert!(!again[0].result.as_ref().expect("admitted").new);
    assert_eq!(shelf.staged.get(), 0, "it is not copied");

    let there = shelf.releases.borrow_mut().remove(NAME).expect("there");
    refused(&run(&submitted(), &shelf), "was moved away since");
    assert_eq!(shelf.staged.get(), 0);

    // Another list under its name, whether it is there or not.
    let record = shelf.records.borrow()[NAME].clone();
    let mut other = AdmissionReport::parse(&record).expect("a record");
    other.sums = Sha256::of(b"another list");
    shelf.keep_record(NAME, &other.to_text()).expect("kept");
    refused(&run(&submitted(), &shelf), "another release `foo-1.2.3`");
    shelf.releases.borrow_mut().insert(NAME.to_owned(), there);
    refused(&run(&submitted(), &shelf), "another release `foo-1.2.3`");
    assert_eq!(shelf.staged.get(), 0);

    shelf.keep_record(NAME, "torn").expect("kept");
    let judged = run(&submitted(), &shelf);
    refused(
        &judged,
        "what is recorded of release `foo-1.2.3` cannot be read",
    );
    assert!(judged[0].result.as_ref().is_err_and(AdmitError::is_trouble));
}

#[test]
fn a_release_without_a_record_is_recorded_before_anything_is_judged() {
    let genuine = Release::genuine();
    let shelf = Shelf::default();
    let submitted = || vec![Submitted::new(NAME, genuine.clone())];
    run(&submitted(), &shelf);
    let first = shelf.records.borrow_mut().remove(NAME).expect("a record");

    // The run that admitted it was killed, or there were no records then.
    let none = Vec::new();
    run(&none, &shelf);
    let again = shelf.records.borrow()[NAME].clone();
    let [mut first, again] =
        [first, again].map(|it| AdmissionReport::parse(&it).expect("a record"));
    first.at = again.at;
    assert_eq!(first, again, "the same but for the time");
    shelf.releases.borrow_mut().remove(NAME);
    refused(&run(&submitted(), &shelf), "was moved away since");

    // What is called otherwise, or is no release, is left alone.
    shelf.records.borrow_mut().clear();
    for (name, release) in [("foo-1.2.4", genuine.clone()), (NAME, genuine.clone())] {
        let mut release = release;
        if name == NAME {
            release.files.remove(SUMS);
        }
        shelf.releases.borrow_mut().insert(name.to_owned(), release);
    }
    run(&none, &shelf);
    assert!(shelf.records.borrow().is_empty());
    refused(&run(&submitted(), &shelf), "another release `foo-1.2.3`");
}
