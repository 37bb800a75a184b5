//! L's own view of an inbox, which anyone may have written.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};

use super::source::DEEPEST;
use super::{LARGEST_NOTE, has, sweep_older};
use crate::domain::artifact::MOST_ARTIFACTS;
use crate::domain::release::is_folder_name;
use crate::domain::reserved::{ADMITTED, REFUSED, SUMS, WITHDRAWN};
use crate::domain::time::Timestamp;
use crate::files::{Folder, Kind, Owner};
use crate::location::{Fault, Inbox, Source, Submission, Swept};

/// Maximum number of entries of a submission that are looked at to see whether it changed.
const MOST_ENTRIES: usize = 4 * MOST_ARTIFACTS;

/// A folder of submissions: one folder each.
pub(in crate::location) struct InboxFolder {
    folder: Folder,
    /// Of what is aside in it, what is ours.
    owner: Owner,
}

impl InboxFolder {
    pub(super) fn new(folder: Folder, owner: Owner) -> Self {
        Self { folder, owner }
    }

    /// Hidden entries are still being written; files and folders without a list are not ours,
    /// unless they are called as a release is; notes on what became of others are ours.
    fn is_submission(&self, name: &OsStr, kind: Kind) -> bool {
        let text = name.to_string_lossy();
        if text.starts_with('.') || text.ends_with(REFUSED) || text.ends_with(ADMITTED) {
            return false;
        }
        let is_named = is_folder_name(text.strip_suffix(WITHDRAWN).unwrap_or(&text));
        match kind {
            Kind::Other => false,
            Kind::Link => is_named,
            Kind::Folder => {
                let has_list = || self.folder.subfolder(name).is_ok_and(|it| has(&it, SUMS));
                is_named || has_list()
            }
        }
    }
}

impl InboxFolder {
    /// Removes our note on a submission that is gone, as far as possible: notes would fill the
    /// disk.
    fn remove_if_obsolete(&self, name: &OsStr, kind: Kind) {
        let of = name.to_str().and_then(|name| name.strip_suffix(REFUSED));
        let of = of.filter(|of| is_folder_name(of.strip_suffix(WITHDRAWN).unwrap_or(of)));
        let is_gone = |of: &str| self.folder.has_or_fails(of).is_ok_and(|there| !there);
        let is_obsolete = of.is_some_and(|of| kind == Kind::Other && is_gone(of));
        let is_ours = || self.folder.file(name).and_then(|note| note.is_ours());
        if is_obsolete && is_ours().unwrap_or(false) {
            let _ = self.folder.remove_file(name);
        }
    }
}

impl Inbox for InboxFolder {
    fn each(&self, take: &mut dyn FnMut(&dyn Submission)) -> Result<(), Fault> {
        self.folder.each::<Fault>(|name, kind| {
            self.owner.remove_left(&self.folder, name, kind);
            if !self.is_submission(name, kind) {
                self.remove_if_obsolete(name, kind);
                return Ok(());
            }
            let submission = Submitted {
                inbox: &self.folder,
                owner: &self.owner,
                name: name.to_owned(),
                shown: name.to_string_lossy().into_owned(),
                opened: OnceCell::new(),
            };
            // Its owner may have taken it back.
            if !matches!(submission.opened(), Err(Fault::Missing(_))) {
                take(&submission);
            }
            Ok(())
        })
    }

    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault> {
        sweep_older(&self.owner, &self.folder, before)
    }
}

/// A submission, which is held open if it can be opened.
struct Submitted<'a> {
    inbox: &'a Folder,
    owner: &'a Owner,
    name: OsString,
    shown: String,
    opened: OnceCell<Folder>,
}

impl Submitted<'_> {
    fn opened(&self) -> Result<&Folder, Fault> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.inbox.subfolder(&self.name)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn note(&self, ending: &str) -> String {
        format!("{}{ending}", self.shown)
    }
}

impl Submission for Submitted<'_> {
    fn name(&self) -> &str {
        &self.shown
    }

    fn place(&self) -> String {
        let place = self.inbox.path().join(&self.name);
        place.display().to_string()
    }

    fn source(&self) -> Result<&dyn Source, Fault> {
        Ok(self.opened()?)
    }

    fn state(&self) -> Option<String> {
        self.opened().ok()?.state(DEEPEST, MOST_ENTRIES).ok()
    }

    fn refusal(&self) -> Option<String> {
        let note = self.inbox.file(self.note(REFUSED)).ok()?;
        if !note.is_ours().ok()? {
            return None;
        }
        String::from_utf8(note.read_whole(LARGEST_NOTE).ok()?).ok()
    }

    /// In `NAME.refused`.
    fn refuse(&self, reason: &str) -> Result<(), Fault> {
        let (note, owner) = (self.note(REFUSED), self.owner);
        let done = self
            .inbox
            .replace_soon(&note, reason.as_bytes(), 0o644, owner);
        Ok(done?)
    }

    /// In `NAME.admitted`.
    fn report(&self, report: &str) -> Result<(), Fault> {
        let (note, owner) = (self.note(ADMITTED), self.owner);
        let done = self
            .inbox
            .replace_among(&note, report.as_bytes(), 0o644, owner);
        Ok(done?)
    }

    fn remove(&self) -> Result<(), Fault> {
        self.inbox
            .remove_opened(&self.name, self.opened()?, self.owner)?;
        Ok(self.inbox.remove_file(self.note(REFUSED))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use std::path::Path;

    /// The inbox at a path, of releases that are in no test.
    fn inbox_at(path: &Path) -> InboxFolder {
        thread_local!(static OF: tempfile::TempDir = tempfile::tempdir().expect("a folder"));
        let open = |path: &Path| Folder::open(path).expect("opened");
        let owner = OF.with(|of| Owner::open(open(of.path())));
        InboxFolder::new(open(path), owner.expect("an owner"))
    }

    fn submissions(path: &Path) -> Vec<String> {
        let inbox = inbox_at(path);
        let mut names = Vec::new();
        inbox
            .each(&mut |submission| names.push(submission.name().to_owned()))
            .expect("listed");
        names.sort();
        names
    }

    #[test]
    fn junk_is_passed_over() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        for name in [
            ".hidden-1",
            ".countersign-1",
            "lost+found",
            "System Volume Information",
            "foo-1.refused",
            "foo-1.admitted",
            "foo-1",
            "foo-4.withdrawal",
            "bar.withdrawal",
            "named-otherwise\n",
            "plain",
        ] {
            fs::create_dir(at(name)).expect("made");
        }
        for name in [
            "Thumbs.db",
            ".DS_Store",
            "foo-2",
            "foo-2.refused",
            "plain/SHA256SUMS",
        ] {
            fs::write(at(name), b"").expect("written");
        }
        for name in ["foo-3", "latest"] {
            symlink("foo-1", at(name)).expect("linked");
        }
        assert_eq!(
            submissions(temp.path()),
            ["foo-1", "foo-3", "foo-4.withdrawal", "plain"]
        );
    }

    #[test]
    fn a_note_goes_with_its_submission() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("foo-1")).expect("made");
        for name in ["foo-1.refused", "foo-2.refused", "foo-3.refused"] {
            fs::write(at(name), b"").expect("written");
        }
        // Only root can give a file away.
        let given = chown(at("foo-3.refused"), Some(12_345), None).is_ok();
        submissions(temp.path());
        assert!(at("foo-1.refused").exists(), "its submission is there");
        assert!(!at("foo-2.refused").exists());
        assert_eq!(at("foo-3.refused").exists(), given, "somebody else's");
    }

    #[test]
    fn a_refusal_that_another_could_have_written_is_none() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("foo-1")).expect("made");
        let refusal = || {
            let inbox = inbox_at(temp.path());
            let mut refusal = None;
            inbox
                .each(&mut |submission| refusal = submission.refusal())
                .expect("listed");
            refusal
        };
        assert_eq!(refusal(), None);
        fs::write(at("foo-1.refused"), "why").expect("written");
        assert_eq!(refusal().as_deref(), Some("why"));
        fs::hard_link(at("foo-1.refused"), at("second")).expect("linked");
        assert_eq!(refusal(), None, "it may be another's note of ours");
        fs::rename(at("foo-1.refused"), at("away")).expect("moved");
        symlink(at("away"), at("foo-1.refused")).expect("linked");
        assert_eq!(refusal(), None);
    }

    #[test]
    fn the_rest_of_an_interrupted_removal_is_removed() {
        let temp = tempfile::tempdir().expect("a folder");
        let ours = inbox_at(temp.path()).owner;
        let left = |name: &OsStr| {
            let path = temp.path().join(name);
            fs::create_dir_all(path.join("deep")).expect("made");
            path
        };
        left(&ours.gone());
        for others in [".countersign.gone-1", ".countersign-1", ".hidden"] {
            left(others.as_ref());
        }
        let names = || {
            assert_eq!(submissions(temp.path()), [""; 0]);
            let folder = Folder::open(temp.path()).expect("opened");
            folder.names(9).expect("listed")
        };
        let others = [".countersign-1", ".countersign.gone-1", ".hidden"];
        assert_eq!(names(), others);

        // Only root can give a folder away.
        if chown(left(&ours.gone()), Some(12_345), None).is_ok() {
            assert_eq!(names().len(), 4, "it is somebody else's, whatever its name");
        }
    }

    /// The inbox, or a folder above it, becomes a link to what is public, at the moments that
    /// matter: nothing there is changed, and what was opened is judged.
    #[test]
    fn an_inbox_that_is_swapped_leads_nowhere_else() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        for folder in ["above/inbox/foo-1", "public/inbox/foo-1"] {
            fs::create_dir_all(at(folder)).expect("made");
            fs::write(at(folder).join("file"), folder).expect("written");
        }
        let inbox = inbox_at(&at("above/inbox"));
        fs::rename(at("above"), at("away")).expect("moved");
        symlink("public", at("above")).expect("linked");
        let mut seen = 0;
        inbox
            .each(&mut |submission| {
                seen += 1;
                let source = submission.source().expect("opened");
                assert_eq!(source.read("file", 99).expect("read"), b"above/inbox/foo-1");
                submission.refuse("no").expect("noted");
                submission.report("yes").expect("reported");
                submission.remove().expect("removed");
            })
            .expect("listed");
        assert_eq!(seen, 1);
        let names = |path: &str| {
            Folder::open(&at(path))
                .and_then(|it| it.names(9))
                .expect("listed")
        };
        assert_eq!(names("public/inbox"), ["foo-1"]);
        assert_eq!(names("public/inbox/foo-1"), ["file"]);
        assert_eq!(names("away/inbox"), ["foo-1.admitted"]);
    }

    #[test]
    fn a_submission_that_is_swapped_once_it_was_read_stays() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("inbox/foo-1")).expect("made");
        fs::create_dir_all(at("other/foo-1")).expect("made");
        let inbox = inbox_at(&at("inbox"));
        inbox
            .each(&mut |submission| {
                submission.source().expect("opened");
                fs::rename(at("inbox/foo-1"), at("away")).expect("moved");
                fs::rename(at("other/foo-1"), at("inbox/foo-1")).expect("moved");
                submission.remove().expect_err("another one");
            })
            .expect("listed");
        assert!(at("inbox/foo-1").exists() && at("away").exists());
    }
}
