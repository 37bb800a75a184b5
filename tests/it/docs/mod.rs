//! The documentation is true: what it shows is what the program does, and what it links to exists.

mod errors;
mod json;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::commands;
use crate::common::Arguments;
use crate::common::cards::{Reader, Slot};
use crate::common::tokens::missing;
use crate::common::{Run, have, listing, tool};

/// The path of SoftHSM2's module in the pages.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The pages' placeholder for the home of the user who runs their commands.
const HOME: &str = "/home/you";
/// A page's placeholder for lines that are left out.
const LEFT_OUT: &str = "…";
/// Parts the outputs of commands that one shell runs.
const MARK: char = '\u{1e}';

#[test]
fn the_reference_of_commands_is_what_the_program_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reference = page("docs/reference/cli.md");
    let mut sections = reference.split("\n## countersign").skip(1);
    for words in commands() {
        let command = words.join(" ");
        let section = sections
            .next()
            .unwrap_or_else(|| panic!("cli.md ends before `countersign {command}`"));
        let (heading, rest) = section.split_once('\n').expect("a heading");
        assert_eq!(
            heading.trim_start(),
            command,
            "cli.md: out of order; run docs/reference/update"
        );
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        arguments.push(&"--help");
        let said = Run::new(folder.path(), &arguments).ok();
        let shown = rest
            .strip_prefix("\n```text\n")
            .and_then(|rest| rest.strip_suffix("```\n").or(rest.strip_suffix("```")));
        assert_eq!(
            shown,
            Some(&*said.stdout),
            "`countersign {command}`: run docs/reference/update"
        );
    }
    assert_eq!(
        sections.next(),
        None,
        "cli.md has a command that is not there"
    );
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let template = page("src/config.toml");
    let page = page("docs/reference/config.md");
    let keys = template
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once(" = "))
        .map(|(key, _)| key);
    let keys: BTreeSet<&str> = keys.collect();
    assert!(keys.len() >= 7, "{keys:?}");
    for key in keys {
        assert!(
            page.contains(&format!("\n| `{key}` |")),
            "config.md does not describe `{key}`"
        );
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    for (path, least) in [
        ("docs/explanation/threat-model.md", 20),
        ("docs/explanation/reliability.md", 6),
        ("docs/reference/builder.md", 2),
        ("docs/reference/evidence.md", 15),
    ] {
        let page_text = page(path);
        let named = tests_named_in(&page_text);
        for (file, name) in &named {
            let tests = tests_of(file);
            let before = tests
                .split_once(&format!("fn {name}("))
                .map(|(before, _)| before);
            let above = before.and_then(|before| before.rsplit("\n\n").next());
            assert!(
                above.is_some_and(|lines| lines.contains("#[test]")),
                "{path}: there is no test `{file}::{name}`"
            );
        }
        assert!(named.len() >= least, "{path} names {} tests", named.len());
    }
}

/// The text of the one file of tests that is called so, or of the file that has these unit tests.
fn tests_of(file: &str) -> String {
    if let Some(module) = file.strip_suffix("::tests") {
        let module = format!("src/{}", module.replace("::", "/"));
        let files = ["/tests.rs", "/mod.rs", ".rs"].map(|end| format!("{module}{end}"));
        let there = files.iter().find(|file| root().join(file).exists());
        return page(there.unwrap_or_else(|| panic!("there is no module {module}")));
    }
    let file = file.replace("::", "/");
    let folders = ["", "cli", "docs", "h", "h_to_l", "m", "m_to_h", "tools"];
    let path = |folder| {
        root()
            .join("tests/it")
            .join(folder)
            .join(format!("{file}.rs"))
    };
    let mut found = folders.into_iter().map(path).filter(|path| path.exists());
    let only = found
        .next()
        .unwrap_or_else(|| panic!("there is no file of tests `{file}`"));
    assert_eq!(
        found.next(),
        None,
        "several files of tests are called `{file}`"
    );
    fs::read_to_string(only).expect("its text")
}

/// What is in a page as `file::name`, or as `module::tests::name`.
fn tests_named_in(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.rsplit_once("::"))
        .collect()
}

/// Everyone who can check evidence, by the page, was seen to do it, for each kind.
#[test]
fn every_cell_of_who_can_check_what_names_its_test() {
    let page = page("docs/reference/evidence.md");
    let (_, table) = page.split_once("## Who can check what").expect("the table");
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut kinds = BTreeSet::new();
    for row in rows
        .iter()
        .take_while(|row| row.matches(" | ").count() == 4)
    {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        kinds.insert((cells[0], cells[1]));
        for cell in &cells[2..] {
            assert!(
                !tests_named_in(cell).is_empty() || *cell == "nobody",
                "no test shows that {cells:?}: `{cell}`"
            );
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn every_link_leads_somewhere() {
    for path in pages() {
        let text = page(&path);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
        {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root()
                    .join(&path)
                    .parent()
                    .expect("a page is in a folder")
                    .join(file),
            };
            assert!(
                target.is_file(),
                "{path} links to {link}, which is not there"
            );
            if !heading.is_empty() {
                let there = fs::read_to_string(&target).expect("a page");
                let there = there
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == heading);
                assert!(there, "{path} links to {link}, which has no such heading");
            }
        }
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every page's commands, in one shell and an empty home, print what the page shows.
macro_rules! pages_run {
    ($($test:ident: $path:literal, $programs:expr;)*) => {
        $(
            #[test]
            fn $test() {
                if have(&$programs) {
                    runs_as_shown($path);
                }
            }
        )*

        const RUN: &[&str] = &[$($path),*];
    };
}

/// As `pages_run`, with a new card in a reader, and nobody but pinentry to ask for its PINs.
macro_rules! pages_run_with_a_card {
    ($($test:ident: $path:literal, $programs:expr;)*) => {
        $(
            #[test]
            fn $test() {
                if have(&$programs) {
                    runs_as_shown_with_a_card($path);
                }
            }
        )*

        const RUN_WITH_A_CARD: &[&str] = &[$($path),*];
    };
}

pages_run_with_a_card! {
    a_yubikey_signs_as_told: "docs/how-to/yubikey.md", ["gpgv", "sqv", "setsid", "pinentry"];
    a_nitrokey_signs_as_told: "docs/how-to/nitrokey.md", ["gpgv", "sqv", "setsid", "pinentry"];
    a_card_is_reconciled_as_told: "docs/how-to/reconcile.md", ["gpg", "setsid"];
}

pages_run! {
    the_readme_runs: "README.md", ["softhsm2-util", "gpgv", "sqv"];
    the_tutorial_runs: "docs/tutorial.md", ["softhsm2-util", "gpgv", "sqv"];
    a_token_is_set_up_as_told: "docs/how-to/pkcs11-token.md", ["softhsm2-util", "pkcs11-tool"];
    a_primary_key_stays_offline_as_told: "docs/how-to/offline-primary-key.md",
        ["softhsm2-util", "gpg", "gpgsm", "openssl"];
    a_home_is_restored_as_told: "docs/how-to/restore.md", ["softhsm2-util", "gpg"];
    a_build_is_attested_by_hand_as_told:
        "docs/how-to/build-without-countersign.md", ["softhsm2-util", "gpg", "openssl", "basenc"];
    releases_are_published_as_told: "docs/how-to/publish.md", ["softhsm2-util"];
    builders_agree_as_told: "docs/how-to/quorum.md", ["softhsm2-util", "diff"];
    a_grant_is_approved_as_told: "docs/how-to/approve.md", ["softhsm2-util", "gpg", "ssh-keygen"];
    a_release_is_checked_by_hand_as_told:
        "docs/reference/release.md", ["softhsm2-util", "gpgv", "sqv", "gpg", "ssh-keygen"];
}

#[test]
fn every_page_with_commands_is_run() {
    let with_commands = pages()
        .into_iter()
        .filter(|path| page(path).contains("```console"));
    let with_commands: BTreeSet<String> = with_commands.collect();
    assert_eq!(
        with_commands,
        RUN.iter()
            .chain(RUN_WITH_A_CARD)
            .map(|path| (*path).to_owned())
            .collect()
    );
}

/// A command of a page, and what the page shows of its output; of a command that a comment hides,
/// nothing is shown.
struct Shown {
    command: String,
    output: Option<Vec<String>>,
}

#[track_caller]
fn runs_as_shown(path: &str) {
    if !Path::new(MODULE).exists() {
        return missing(MODULE).unwrap_or(());
    }
    runs_after(path, "");
}

/// A program in place of the person at pinentry: gives a new card its PINs, the admin's where that
/// is asked for.
const PINENTRY: &str = r#"#!/bin/sh
echo OK
while read -r line; do
    case $line in
        SETDESC*[Aa]dmin*) pin=12345678 ;;
        SETDESC*) pin=123456 ;;
        GETPIN) echo "D $pin" ;;
    esac
    echo OK
    [ "$line" = BYE ] && exit
done
"#;

#[track_caller]
fn runs_as_shown_with_a_card(path: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(reader) = Reader::start(folder.path()) else {
        return;
    };
    let Some(card) = reader.insert(Slot::First, &[]) else {
        return;
    };
    let pinentry = folder.path().join("pinentry");
    fs::write(&pinentry, PINENTRY).expect("pinentry");
    fs::set_permissions(&pinentry, fs::Permissions::from_mode(0o755)).expect("its mode");
    let (variable, socket) = reader.env();
    // In place of the system's pinentry, for these commands alone.
    runs_after(
        path,
        &format!(
            "export {variable}={}\nmount --bind {} \"$(readlink -f /usr/bin/pinentry)\"\n",
            socket.display(),
            pinentry.display()
        ),
    );
    assert!(card.signatures() > 0, "{path} uses no card");
}

/// Runs a page's commands in a shell without a terminal, after these.
#[track_caller]
fn runs_after(path: &str, before: &str) {
    let shown = shown(&page(path));
    let home = tempfile::tempdir().expect("a temporary folder");
    let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let mut script = format!(
        "exec 2>&1\n{before}PATH={}:$PATH\n",
        program.parent().expect("its folder").display()
    );
    for Shown { command, .. } in &shown {
        // The mark must not change `$?`.
        script += &format!("said=$?; printf '{MARK}'; (exit $said)\n{command}\n");
    }
    let script = script + "exit 0\n";
    let own_mounts = if rustix::process::geteuid().is_root() {
        "--mount"
    } else {
        "-rm"
    };
    let shell: Arguments<'_> = &[&"--wait", &"bash", &"-c", &script];
    let said = if before.contains("mount ") {
        let unshare: Arguments<'_> = &[&own_mounts, &"setsid"];
        tool("unshare", &[unshare, shell].concat(), home.path())
    } else {
        tool("setsid", shell, home.path())
    };
    let said = said.stdout;
    let said = said.replace(&home.path().display().to_string(), HOME);
    let mut outputs = said.split(MARK).skip(1);
    for Shown { command, output } in &shown {
        let said = outputs
            .next()
            .unwrap_or_else(|| panic!("{path}: the shell ended before\n{command}"));
        let Some(output) = output else { continue };
        let lines: Vec<String> = said
            .trim_end_matches('\n')
            .lines()
            .map(unchanging)
            .collect();
        let expected: Vec<String> = output.iter().map(|line| unchanging(line)).collect();
        assert!(
            fits(&expected, &lines),
            "{path}: `{command}` is shown with\n{}\nbut said\n{said}",
            output.join("\n")
        );
    }
}

/// The commands of a page: in `console` blocks, and in comments that begin with the name of this
/// file.
fn shown(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut lines = page.lines().peekable();
    let mut in_block = false;
    while let Some(line) = lines.next() {
        if line.starts_with("<!-- tests/it/docs/mod.rs") {
            let hidden: Vec<&str> = lines.by_ref().take_while(|line| *line != "-->").collect();
            found.push(Shown {
                command: hidden.join("\n"),
                output: None,
            });
        } else if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(first) = line.strip_prefix("$ ").filter(|_| in_block) {
            let mut command = first.to_owned();
            while command.ends_with('\\') || lines.peek().is_some_and(|next| next.starts_with("> "))
            {
                let next = lines.next().expect("a command goes on");
                command += "\n";
                command += next.strip_prefix("> ").unwrap_or(next);
            }
            found.push(Shown {
                command,
                output: Some(Vec::new()),
            });
        } else if in_block {
            let command = found.last_mut().expect("a block begins with a command");
            command.output.get_or_insert_default().push(line.to_owned());
        }
    }
    found
}

/// Whether the lines are those expected, with any lines where some are left out.
fn fits(expected: &[String], lines: &[String]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == LEFT_OUT => {
            (0..=lines.len()).any(|skip| fits(rest, &lines[skip..]))
        }
        (Some((first, rest)), Some((line, others))) => first == line && fits(rest, others),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A line without what differs from run to run: times, digests, fingerprints, serial and slot
/// numbers.
fn unchanging(line: &str) -> String {
    let line = match line.split_once("Signature made ") {
        Some((before, _)) => format!("{before}Signature made #"),
        None => line.to_owned(),
    };
    // The fingerprint of an SSH key is in base64.
    let line = match line.split_once(" SHA256:") {
        Some((before, after)) => {
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c))
                .unwrap_or(after.len());
            format!("{before} SHA256:#{}", &after[end..])
        }
        None => line,
    };
    // The root of the log is in base64, after what gpgv writes for a space.
    let line = match line.split_once("%20") {
        Some((before, root)) if root.len() == 44 && root.ends_with('=') => format!("{before} #"),
        _ => line,
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '%';
    let mut text = String::new();
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| word(c) != word(first)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let hexadecimal = part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'%');
        // A time is in several words: `23T01`, `17`, `46Z`.
        let time = part.starts_with(|c: char| c.is_ascii_digit())
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || b"TZ".contains(&b));
        let changing = word(first) && (hexadecimal && part.len() >= 6 || time && part.len() >= 2);
        text += if changing { "#" } else { part };
        rest = after;
    }
    text
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, by its path.
fn pages() -> Vec<String> {
    let mut pages = vec![
        "README.md".to_owned(),
        "SECURITY.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "CHANGELOG.md".to_owned(),
    ];
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for name in listing(&root().join(&folder)) {
            let path = format!("{folder}/{name}");
            match root().join(&path).is_dir() {
                true => folders.push(path),
                false if name.ends_with(".md") => pages.push(path),
                false => {}
            }
        }
    }
    pages
}

#[track_caller]
fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
