//! Whether a file could be taken for the list of a release, by its first line.
//!
//! Each list that the release key signs begins with a line that names `evidence/release.json`. A
//! signed artifact must not, in any spelling that a tool takes for that path in that place. It is
//! read as leniently as all of them together: GNU and busybox `sha256sum`, Perl's `shasum`, the
//! tagged form of BSD and of OpenSSL, with blank lines and comments in front.

use super::malformed::Malformed;
use super::name::ArtifactName;
use super::reserved::{EVIDENCE, RELEASE};

/// How many parts of one path are remembered. No tool opens a path in which more are like these.
const MOST_MARKS: usize = 1000;
/// One byte more than the longest part of it, so that a longer one is never equal.
const LONGEST_PART: usize = RELEASE.len() + 1;
/// The shortest digest that a tool writes, in hexadecimal digits: that of MD5.
const SHORTEST_DIGEST: u64 = 32;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// A scanner of a file's beginning, which takes the file piece by piece and keeps none of it.
#[derive(Debug, Clone, Default)]
pub struct FirstLine(State);

#[derive(Debug, Clone)]
enum State {
    /// In a byte order mark, of which this many bytes were there.
    Mark(usize),
    /// At the beginning of a line.
    Begin,
    Comment,
    /// In the first word of the line: a digest or a function's name.
    Word(Word),
    /// Behind a word that is not a digest: the name of a hash function, if a parenthesis follows.
    Name,
    /// Behind the digest, at the mark of a mode.
    Gap,
    /// In the path behind a digest, which ends with the line.
    Path(Path),
    /// In the path in parentheses; whether the part in front of the last `)` was the path, and only
    /// blanks came since.
    Tagged(Path, bool),
    Found,
    Other,
}

/// The first word of a line.
#[derive(Debug, Clone, Default)]
struct Word {
    /// How many hexadecimal digits it has.
    digits: u64,
    /// Whether it has anything else.
    other: bool,
}

/// A path, and whether its end is the one that is looked for: what is in front of that may lead
/// back to the release.
#[derive(Debug, Clone, Default)]
struct Path {
    depth: u64,
    /// Which of its parts are those of the target: the depth of each, and whether it is the file.
    marks: Vec<(u64, bool)>,
    /// The beginning of its last part, in lower case.
    part: Vec<u8>,
    /// The blanks behind that, which belong to it only if more follows.
    blanks: usize,
}

impl Default for State {
    fn default() -> Self {
        Self::Mark(0)
    }
}

impl FirstLine {
    /// Takes the next piece of the file.
    pub fn update(&mut self, piece: &[u8]) {
        for byte in piece {
            if matches!(self.0, State::Found | State::Other) {
                return;
            }
            self.0 = std::mem::take(&mut self.0).after(*byte);
        }
    }

    /// Refuses an artifact whose first line names `evidence/release.json`.
    pub fn check(&self, name: &ArtifactName) -> Result<(), Malformed> {
        if self.names_release() {
            return Err(Malformed::new(format!(
                "artifact `{name}` begins like the list of a release: its first line names \
                 `{EVIDENCE}/{RELEASE}`"
            )));
        }
        Ok(())
    }

    /// Whether the first line of the file that was taken names `evidence/release.json`.
    fn names_release(&self) -> bool {
        match &self.0 {
            State::Found => true,
            State::Path(path) => path.is_target(),
            State::Mark(_)
            | State::Begin
            | State::Comment
            | State::Word(_)
            | State::Name
            | State::Gap
            | State::Tagged(..)
            | State::Other => false,
        }
    }
}

impl State {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Mark(taken) if BYTE_ORDER_MARK[taken] == byte => match taken + 1 {
                3 => Self::Begin,
                taken => Self::Mark(taken),
            },
            Self::Mark(0) | Self::Begin => Self::begin(byte),
            Self::Mark(_) | Self::Found | Self::Other => Self::Other,
            Self::Comment if ends_line(byte) => Self::Begin,
            Self::Comment => Self::Comment,
            Self::Word(word) => word.after(byte),
            Self::Name if is_blank(byte) => Self::Name,
            Self::Name if byte == b'(' => Self::Tagged(Path::default(), false),
            Self::Name => Self::Other,
            // `shasum` writes `U` and `^` for its other modes.
            Self::Gap if is_blank(byte) || b"*?^U".contains(&byte) => Self::Gap,
            Self::Gap if ends_line(byte) => Self::Other,
            Self::Gap => Self::Path(Path::default().after(byte)),
            Self::Path(path) if ends_line(byte) => {
                if path.is_target() {
                    Self::Found
                } else {
                    Self::Other
                }
            }
            Self::Path(path) => Self::Path(path.after(byte)),
            Self::Tagged(path, closed) => Self::tagged(path, closed, byte),
        }
    }

    fn begin(byte: u8) -> Self {
        match byte {
            b'#' => Self::Comment,
            // In front of a line with an escaped name.
            b'\\' => Self::Begin,
            _ if is_blank(byte) || ends_line(byte) => Self::Begin,
            _ => Word::default().after(byte),
        }
    }

    fn tagged(path: Path, closed: bool, byte: u8) -> Self {
        match byte {
            b'=' if closed => Self::Found,
            b')' => {
                let closed = path.is_target();
                Self::Tagged(path.after(byte), closed)
            }
            _ if ends_line(byte) => Self::Other,
            _ => Self::Tagged(path.after(byte), closed && is_blank(byte)),
        }
    }
}

impl Word {
    fn after(mut self, byte: u8) -> State {
        match byte {
            _ if is_blank(byte) || byte == b'*' => {
                if !self.other && self.digits >= SHORTEST_DIGEST {
                    State::Gap
                } else if byte == b'*' {
                    State::Other
                } else {
                    State::Name
                }
            }
            b'(' => State::Tagged(Path::default(), false),
            _ if byte.is_ascii_hexdigit() => {
                self.digits = self.digits.saturating_add(1);
                State::Word(self)
            }
            // `cksum` takes a colon behind the function's name.
            _ if byte.is_ascii_alphanumeric() || b"-_/:".contains(&byte) => {
                self.other = true;
                State::Word(self)
            }
            _ => State::Other,
        }
    }
}

impl Path {
    fn after(mut self, byte: u8) -> Self {
        match byte {
            // A backslash is a separator, or an escape: of a name that needs none.
            b'/' | b'\\' => self.enter(),
            _ if is_blank(byte) => self.blanks = self.blanks.saturating_add(1),
            _ => {
                let room = LONGEST_PART - self.part.len();
                let blanks = std::mem::take(&mut self.blanks);
                self.part.extend(vec![b' '; blanks.min(room)]);
                if self.part.len() < LONGEST_PART {
                    self.part.push(byte.to_ascii_lowercase());
                }
            }
        }
        self
    }

    /// The end of a part.
    fn enter(&mut self) {
        let part = std::mem::take(&mut self.part);
        self.blanks = 0;
        match part.as_slice() {
            b"" | b"." => {}
            b".." => {
                self.depth = self.depth.saturating_sub(1);
                let above = self.marks.partition_point(|(at, _)| *at < self.depth);
                self.marks.truncate(above);
            }
            _ => {
                let is_file = part == RELEASE.as_bytes();
                let is_like_it = is_file || part == EVIDENCE.as_bytes();
                if is_like_it && self.marks.len() < MOST_MARKS {
                    self.marks.push((self.depth, is_file));
                }
                self.depth = self.depth.saturating_add(1);
            }
        }
    }

    fn is_target(&self) -> bool {
        let mut whole = self.clone();
        whole.enter();
        let Some(folder) = whole.depth.checked_sub(2) else {
            return false;
        };
        whole
            .marks
            .ends_with(&[(folder, false), (folder + 1, true)])
    }
}

/// What ends a line for any of the readers; a C program takes a NUL for the end.
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Sha256;
    use proptest::prelude::*;

    fn named(text: impl AsRef<[u8]>) -> bool {
        let mut scanner = FirstLine::default();
        scanner.update(text.as_ref());
        scanner.names_release()
    }

    fn digest() -> String {
        Sha256::of(b"").to_string()
    }

    #[test]
    fn every_spelling_of_the_line_is_found() {
        let hex = digest();
        let path = "evidence/release.json";
        let upper = hex.to_uppercase();
        for line in [
            format!("{hex}  {path}\n"),
            format!("{hex}  {path}"),
            format!("{hex}  {path}\r\n"),
            format!("{hex}  {path}\0more"),
            format!("{hex} *{path}\n"),
            format!("{hex}*{path}\n"),
            format!("{hex} {path}\n"),
            format!("{hex}\t{path}\t \n"),
            format!("{hex} U{path}\n"),
            format!("{hex} ^{path}\n"),
            format!("  {hex}   * \t{path}\n"),
            format!("{upper}  {path}\n"),
            format!("{upper}  EVIDENCE/Release.JSON\n"),
            format!("\\{hex}  {path}\n"),
            format!("\\{hex}  evidence\\\\release.json\n"),
            format!("{hex}  evidence\\release.json\n"),
            format!("{hex}  ./{path}\n"),
            format!("{hex}  ././/.//evidence//.///release.json\n"),
            format!("{hex}  {}{path}\n", "./".repeat(100_000)),
            format!("{hex}  x/../evidence/../evidence/release.json\n"),
            format!("{hex}  /{path}\n"),
            format!("{hex}  ../foo-1.0/{path}\n"),
            format!("{hex}  ../../../{path}\n"),
            format!("{hex}  /proc/self/cwd/{path}\n"),
            format!("{hex}  evidence/evidence/x/y/../../release.json\n"),
            format!("{hex}  {path}/x/..\n"),
            format!("{hex}  C:\\foo-1.0\\evidence\\release.json\n"),
            format!("SHA256: ({path}) = {hex}\n"),
            format!("SHA256:(../foo-1.0/{path})={hex}\n"),
            format!("SHA256 ({path}) = {hex}\n"),
            format!("SHA256({path})= {hex}\n"),
            format!("SHA2-256 (./{path})  =  {hex}\n"),
            format!("\\SHA256 ({path}) = {hex}\n"),
            format!("sha512/256 ({path}) = {hex}\n"),
            format!("MD5 ({path}) = {}\n", &hex[..32]),
            format!("{}  {path}\n", &hex[..32]),
            format!("{hex}{hex}  {path}\n"),
            format!("\u{feff}{hex}  {path}\n"),
            format!("\n\r\n \t\n{hex}  {path}\n"),
            format!("# a comment\n#\n  # another\r\n{hex}  {path}\n"),
            format!("{}{hex}  {path}\n", "# much\n".repeat(100_000)),
            format!("#{}\n{hex}  {path}\n", "x".repeat(1_000_000)),
        ] {
            assert!(
                named(&line),
                "{}",
                line.chars().take(200).collect::<String>()
            );
        }
    }

    #[test]
    fn nothing_else_is_found() {
        let hex = digest();
        let path = "evidence/release.json";
        for text in [
            String::new(),
            format!("{hex}\n"),
            hex.clone(),
            format!("{hex}  foo-1.2.3.tar.xz\n"),
            format!("{hex}  foo-1.2.3.tar.xz\n{hex}  {path}\n"),
            format!("{hex}  {path}.sig\n"),
            format!("{hex}  {path} 2\n"),
            format!("{hex}  {path}/more\n"),
            format!("{hex}  release.json\n"),
            format!("{hex}  evidence/../release.json\n"),
            format!("{hex}  evidence/x/y/../release.json\n"),
            format!("{hex}  otherevidence/release.json\n"),
            format!("{hex}  {path}/..\n"),
            format!("{hex}  evidence/m1/release.json\n"),
            format!("{hex}  \n{path}\n"),
            format!("# {hex}  {path}\n"),
            format!("{path}\n"),
            format!("see {path}\n"),
            format!("see ({path}) and more\n"),
            format!("SHA256 ({path})\n= {hex}\n"),
            format!("SHA256 ({path})"),
            format!("{}  {path}\n", &hex[..31]),
            format!("{hex}x  {path}\n"),
            format!("SHA256 (foo.c) = {hex}\n"),
            "-----BEGIN PGP SIGNATURE-----\n\niQ\n".to_owned(),
            "{\"bomFormat\": \"CycloneDX\", \"files\": [\"evidence/release.json\"]}\n".to_owned(),
            format!("\u{feff}\u{feff}{hex}  {path}\n"),
        ] {
            assert!(!named(&text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            text in concat!(
                "[# \\t\\r\\n\\\\]{0,6}([0-9a-f]{64}|SHA256)[ *(]{0,3}(\\./|/){0,2}",
                "evidence/{1,2}release.json[) =]{0,3}\\n?",
            ),
            cuts in prop::collection::vec(0..200_usize, 0..4),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut scanner = FirstLine::default();
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                scanner.update(&bytes[from..to]);
                from = to;
            }
            prop_assert_eq!(scanner.names_release(), named(&text));
        }

        /// With anything in front that a reader skips, and any blanks and marks, the line is found;
        /// another name is not.
        #[test]
        fn the_line_is_found_wherever_it_may_be(
            front in "(#[ -~]{0,9}(\\n|\\r\\n)|[ \\t]{0,3}(\\n|\\r\\n)){0,5}",
            before in "[ \\t]{0,3}\\\\?",
            hex in "[0-9a-fA-F]{64}",
            gap in "[ \\t]{1,3}\\*?[ \\t]{0,2}",
            dots in "(\\./|/){0,5}",
            end in "[ \\t]{0,3}(\\n|\\r\\n)?",
        ) {
            let line = |path: &str| format!("{front}{before}{hex}{gap}{dots}{path}{end}");
            prop_assert!(named(line("evidence/release.json")));
            prop_assert!(!named(line("evidence/grant.json")));
            prop_assert!(!named(line("foo.c")));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = named(bytes);
        }
    }
}
