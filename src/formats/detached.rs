//! `NAME.asc`: a detached, armoured OpenPGP signature for each statement of the release, which gpgv
//! and sqv check.

use super::{Content, File};
use crate::domain::reserved::RELEASE_SIGNATURE;
use crate::domain::signing::Plan;

/// Name of the file with the signature of `name`.
pub fn signature_name(name: &str) -> String {
    format!("{name}{RELEASE_SIGNATURE}")
}

pub(super) fn files(plan: &Plan) -> impl Iterator<Item = File> {
    plan.files().iter().map(|file| File {
        name: signature_name(file.name()),
        content: Content::SignatureOf(file.clone()),
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::contents::Contents;
    use crate::domain::release::Sums;
    use crate::formats::{Content, files};

    const LIST: &[u8] = include_bytes!("../../tests/data/release/foo-1.2.3/SHA256SUMS");
    const CONTENTS: &[u8] =
        include_bytes!("../../tests/data/release/foo-1.2.3/evidence/release.json");

    /// The list of the release among the test data, and a signature for each file with one.
    #[test]
    fn the_files_of_a_release_are_those_of_the_vector() {
        let sums = Sums::parse(LIST).expect("the list of the vector");
        let contents = Contents::parse(CONTENTS).expect("the contents of the vector");
        sums.check(&contents).expect("the list of these");
        let mut files = files(&contents, &sums).into_iter();
        let list = files.next().expect("the list");
        assert_eq!(list.name, "SHA256SUMS");
        assert_eq!(list.content, Content::Bytes(LIST.to_vec()));
        let signatures: Vec<_> = files
            .map(|file| match file.content {
                Content::SignatureOf(of) => (file.name, of.name().to_owned()),
                Content::Bytes(_) => panic!("{}", file.name),
            })
            .collect();
        let names: Vec<_> = sums.artifacts().iter().map(|it| it.name.as_str()).collect();
        let expected = names.into_iter().chain(["SHA256SUMS"]);
        let expected: Vec<_> = expected
            .map(|name| (format!("{name}.asc"), name.to_owned()))
            .collect();
        assert_eq!(signatures, expected);
    }
}
