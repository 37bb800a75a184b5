//! SSH signatures (OpenSSH's PROTOCOL.sshsig): the one form in which they are kept, and in [`key`]
//! whose they are, for those who have the public keys.

pub mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::malformed::Malformed;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Characters in a line of ssh-keygen's armour.
const WIDTH: usize = 70;
/// The first bytes of a signature.
const MAGIC: &[u8] = b"SSHSIG";
/// The one version of the format.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// The bytes of one signature, of which only the framing was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(Vec<u8>);

impl Blob {
    /// Whether a file could be an SSH signature rather than an OpenPGP one.
    pub fn is_likely(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN.as_bytes())
    }

    /// Reads armour with nothing around it. Its lines have any length: nobody signed that.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text: String = String::from_utf8_lossy(bytes).split('\n').collect();
        let base64 = text
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .ok_or_else(|| malformed("there is text around it, or no end"))?;
        let blob = Some(base64).and_then(|base64| STANDARD.decode(base64).ok());
        let blob = blob.ok_or_else(|| malformed("its lines or its base64 differ"))?;
        check_fields(&blob).map_err(malformed)?;
        Ok(Self(blob))
    }

    /// Reads armour in the form of [`Blob::to_armour`].
    pub fn parse_kept(bytes: &[u8]) -> Result<Self, Malformed> {
        let blob = Self::parse(bytes)?;
        if blob.to_armour().as_bytes() == bytes {
            Ok(blob)
        } else {
            Err(Malformed::new(
                "the signature is not in the form in which the signing host keeps it",
            ))
        }
    }

    /// Its armour, as ssh-keygen writes it.
    pub fn to_armour(&self) -> String {
        let base64 = STANDARD.encode(&self.0);
        let lines = base64.as_bytes().chunks(WIDTH);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
        format!("{BEGIN}\n{}{END}\n", lines.collect::<String>())
    }
}

/// Whether the fields are those of a signature, with nothing behind them: key, namespace, a field
/// for later that is empty, hash function and signature.
fn check_fields(blob: &[u8]) -> Result<(), &'static str> {
    let rest = blob.strip_prefix(MAGIC).ok_or("it has another content")?;
    let mut rest = rest.strip_prefix(&VERSION).ok_or("its version differs")?;
    let mut field = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, after) = after.split_at_checked(length)?;
        rest = after;
        Some(field)
    };
    let mut next = || field().ok_or("it ends early");
    let _key = next()?;
    let _namespace = next()?;
    let reserved = next()?;
    let _hash = next()?;
    let _signature = next()?;
    if !reserved.is_empty() {
        return Err("its reserved field is not empty");
    }
    if !rest.is_empty() {
        return Err("there are bytes behind it");
    }
    Ok(())
}

fn malformed(reason: &str) -> Malformed {
    Malformed::new(format!(
        "the file is not a signature as `ssh-keygen -Y sign` writes it: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(reserved: &[u8], behind: &[u8]) -> Vec<u8> {
        let mut blob = [MAGIC, &VERSION].concat();
        for field in [&[7; 51], &b"test"[..], reserved, b"sha512", &[9; 83]] {
            let length = u32::try_from(field.len()).expect("short");
            blob.extend(length.to_be_bytes());
            blob.extend(field);
        }
        blob.extend(behind);
        blob
    }

    #[test]
    fn one_signature_has_one_armour() {
        let whole = Blob(blob(b"", b""));
        let armour = whole.to_armour();
        assert_eq!(Blob::parse_kept(armour.as_bytes()), Ok(whole.clone()));
        assert!(armour.lines().all(|line| line.len() <= WIDTH));
        let in_one_line = format!("{BEGIN}\n{}\n{END}", STANDARD.encode(&whole.0));
        for framed in [&in_one_line, armour.trim_end(), &format!("{armour}\n\n")] {
            let parsed = Blob::parse(framed.as_bytes()).expect("the same signature");
            assert_eq!(parsed.to_armour(), armour);
            let refused = Blob::parse_kept(framed.as_bytes()).expect_err("another form");
            assert!(refused.to_string().contains("in which the signing host"));
        }
    }

    #[test]
    fn what_is_not_one_signature_is_refused() {
        for (blob, reason) in [
            (blob(b"", b"text"), "bytes behind it"),
            (blob(b"text", b""), "reserved field"),
            (blob(b"", b"")[..100].to_vec(), "ends early"),
            (blob(b"", b"")[1..].to_vec(), "another content"),
            ([MAGIC, &[0, 0, 0, 2]].concat(), "version"),
        ] {
            let refused = Blob::parse(Blob(blob).to_armour().as_bytes());
            let refused = refused.expect_err(reason).to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        let armour = Blob(blob(b"", b"")).to_armour();
        for (around, reason) in [
            (format!("text\n{armour}"), "text around it"),
            (format!("{armour}text\n"), "text around it"),
            (armour.replacen('\n', "\nComment: text\n", 1), "its base64"),
            (armour.replace('\n', "\r\n"), "text around it"),
        ] {
            let refused = Blob::parse(around.as_bytes())
                .expect_err(reason)
                .to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
