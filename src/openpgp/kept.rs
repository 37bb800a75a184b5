//! The one form of a builder's certificate, which grants and releases have: nothing but what its
//! own key signed.

use std::io::{Read as _, Write as _};

use sequoia_openpgp as openpgp;

use openpgp::parse::Parse as _;
use openpgp::{Packet, PacketPile, armor};

use super::certificate::Certificate;
use super::packet::is_packet;
use super::parts::{check_parts, not_own};
use super::signature::CLOCK_TOLERANCE;
use crate::domain::malformed::Malformed;
use crate::domain::time::Timestamp;

impl Certificate {
    /// Reads one certificate, armoured or binary, of which nothing but its framing is lost where it
    /// is written again. So nobody can add to it on the way.
    pub fn parse_own(bytes: &[u8]) -> Result<Self, Malformed> {
        let certificate = Self::parse(bytes)?;
        let packets = if is_packet(bytes) {
            bytes.to_vec()
        } else {
            dearmoured(bytes)?
        };
        let count = check_packets(&packets)?;
        let own = check_parts(certificate.cert())?;
        let all = certificate.cert().clone().into_packets().count();
        if own != all {
            return Err(not_own());
        }
        if all != count {
            return Err(Malformed::new(
                "the certificate has a packet twice, or one that does not belong to it",
            ));
        }
        Ok(certificate)
    }

    /// Refuses one with a signature that is dated in the future: it may be another one then.
    pub fn check_times(&self, now: Timestamp) -> Result<(), Malformed> {
        let packets = self.cert().clone().into_packets();
        let times = packets.filter_map(|packet| match packet {
            Packet::Signature(signature) => signature.signature_creation_time(),
            _ => None,
        });
        let mut times = times.map(Timestamp::from);
        match times.find(|at| at.since(now) > CLOCK_TOLERANCE) {
            Some(at) => Err(Malformed::new(format!(
                "the certificate has a signature that is dated in the future ({at})"
            ))),
            None => Ok(()),
        }
    }

    /// Whether a text is its armour as [`Certificate::armored`] writes it at some time. Which user
    /// ids are in its comments depends on the time: each comment is the fingerprint or the
    /// beginning of a user id, so that nothing is in it that is not in the certificate.
    pub fn is_in_our_armour(&self, text: &str) -> bool {
        let plain =
            armor::Writer::new(Vec::new(), armor::Kind::PublicKey).and_then(|mut writer| {
                writer.write_all(&self.binary())?;
                writer.finalize()
            });
        let plain = plain.expect("memory can be written");
        let mut names = self.user_ids();
        names.push(self.cert().fingerprint().to_spaced_hex());
        let Some((begin, mut rest)) = text.split_once('\n') else {
            return false;
        };
        while let Some((comment, after)) = rest
            .strip_prefix("Comment: ")
            .and_then(|rest| rest.split_once('\n'))
        {
            // Each once.
            let of = names.iter().position(|name| name.starts_with(comment));
            let Some(of) = of.filter(|_| !comment.is_empty()) else {
                return false;
            };
            names.swap_remove(of);
            rest = after;
        }
        format!("{begin}\n{rest}").as_bytes() == plain
    }
}

fn dearmoured(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::PublicKey));
    let mut packets = Vec::new();
    armor::Reader::from_bytes(bytes, mode)
        .read_to_end(&mut packets)
        .map_err(|error| Malformed::new(format!("the certificate cannot be read: {error}")))?;
    Ok(packets)
}

/// Checks each packet by itself; returns how many there are.
fn check_packets(bytes: &[u8]) -> Result<usize, Malformed> {
    // This refuses a packet with bytes behind what it is made of. The error has all of it.
    let packets = PacketPile::from_bytes(bytes).map_err(|_| {
        Malformed::new("the certificate has bytes that do not belong to any of its packets")
    })?;
    let mut count = 0;
    for packet in packets.into_children() {
        match &packet {
            Packet::PublicKey(_)
            | Packet::PublicSubkey(_)
            | Packet::UserID(_)
            | Packet::Signature(_) => {}
            other => {
                let tag = other.tag();
                let text = format!("the certificate has a `{tag}`, which is not kept");
                return Err(Malformed::new(text));
            }
        }
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use openpgp::Cert;
    use openpgp::cert::CertBuilder;
    use openpgp::packet::signature::SignatureBuilder;
    use openpgp::packet::signature::subpacket::{
        NotationData, NotationDataFlags, Subpacket, SubpacketValue,
    };
    use openpgp::packet::{Tag, Unknown, UserID};
    use openpgp::serialize::MarshalInto as _;
    use openpgp::types::SignatureType;

    use super::*;
    use crate::openpgp::packet::signature_body;

    fn made(user_id: &str) -> Cert {
        let builder = CertBuilder::new().add_userid(user_id).add_signing_subkey();
        builder.generate().expect("a key").0
    }

    fn written(packets: &[Packet]) -> Vec<u8> {
        let bytes = packets.iter().map(|it| it.to_vec().expect("written"));
        bytes.flatten().collect()
    }

    #[test]
    fn framing_is_lost_and_nothing_else() {
        let cert = made("m1");
        let certificate = Certificate::of(cert.clone().strip_secret_key_material()).expect("one");
        let armored = certificate.armored();
        let framed = format!("To whom it concerns\n\n{armored}\nbye\n");
        let comment = armored.replacen("\n\n", "\nComment: hello\n\n", 1);
        for bytes in [
            armored.as_bytes(),
            framed.as_bytes(),
            comment.as_bytes(),
            &certificate.binary(),
        ] {
            let read = Certificate::parse_own(bytes).expect("accepted");
            assert_eq!(read.armored(), armored);
        }
    }

    #[test]
    fn our_armour_has_comments_of_the_certificate_alone() {
        let cert = made("m1").strip_secret_key_material();
        let certificate = Certificate::of(cert).expect("one");
        let ours = certificate.armored();
        assert!(ours.contains("\nComment: m1\n"), "{ours}");
        assert!(certificate.is_in_our_armour(&ours));
        // As it is written while no user id is valid.
        let without = ours.replace("Comment: m1\n", "");
        assert!(certificate.is_in_our_armour(&without));
        for (from, to) in [
            ("Comment: m1\n", "Comment: m2\n"),
            ("Comment: m1\n", "Comment: m1\nComment: m1\n"),
            ("Comment: m1\n", "Comment: \n"),
            ("Comment: m1\n", "Version: 1\nComment: m1\n"),
            ("-----BEGIN", "text\n-----BEGIN"),
            ("BLOCK-----\nComment", "BLOCK-----  \nComment"),
            ("\n\n", "\n \n"),
            ("-----\n", "-----\r\n"),
        ] {
            let changed = ours.replacen(from, to, 1);
            assert_ne!(changed, ours, "{from}");
            assert!(!certificate.is_in_our_armour(&changed), "{to}");
        }
        assert!(!certificate.is_in_our_armour(&format!("{ours}text\n")));
        assert!(!certificate.is_in_our_armour(""));
    }

    #[test]
    fn what_its_own_key_did_not_sign_is_refused() {
        let cert = made("m1");
        let public = cert.clone().strip_secret_key_material();
        let packets: Vec<Packet> = public.clone().into_packets().collect();
        let of_tag = |tag: Tag| packets.iter().position(|it| it.tag() == tag).expect("one");
        let user_id = of_tag(Tag::UserID);
        let changed = |change: &dyn Fn(&mut Vec<Packet>)| {
            let mut packets = packets.clone();
            change(&mut packets);
            written(&packets)
        };
        let by_other = {
            let other = made("other");
            let key = other.primary_key().key().clone();
            let signer = key.parts_into_secret().expect("a secret");
            let mut signer = signer.clone().into_keypair().expect("a key");
            let userid = public.userids().next().expect("one").userid().clone();
            let builder = SignatureBuilder::new(SignatureType::GenericCertification);
            userid.bind(&mut signer, &public, builder).expect("signed")
        };
        let note = |packets: &mut Vec<Packet>| {
            let signature = packets.iter_mut().find_map(|it| match it {
                Packet::Signature(signature) => Some(signature),
                _ => None,
            });
            let text = NotationDataFlags::empty().set_human_readable();
            let note = NotationData::new("a@example.org", b"b", text);
            let note = Subpacket::new(SubpacketValue::NotationData(note), false);
            let area = signature.expect("one").unhashed_area_mut();
            area.add(note.expect("fits")).expect("fits");
        };
        let mut longer = written(&packets);
        let last = packets.last().expect("one").to_vec().expect("written");
        longer.truncate(longer.len() - last.len());
        let body = [signature_body(&last).expect("a body"), b"hidden"].concat();
        longer.extend([0xc2, 255]);
        longer.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
        longer.extend(body);

        for (bytes, reason) in [
            (
                changed(&note),
                "subpacket `NotationData` in its unhashed area",
            ),
            (longer, "bytes that do not belong"),
            (
                changed(&|packets| {
                    let error = openpgp::anyhow::anyhow!("unknown");
                    let mut unknown = Unknown::new(Tag::Private(60), error);
                    unknown.set_body(b"hidden".to_vec());
                    packets.push(unknown.into());
                }),
                "which is not kept",
            ),
            (
                changed(&|packets| packets.insert(user_id + 1, by_other.clone().into())),
                "more than its own key signed",
            ),
            (
                changed(&|packets| packets.insert(user_id, UserID::from("hidden").into())),
                "more than its own key signed",
            ),
            (
                changed(&|packets| packets.push(packets.last().expect("one").clone())),
                "a packet twice",
            ),
        ] {
            assert!(Certificate::parse(&bytes).is_ok(), "{reason}");
            let refused = Certificate::parse_own(&bytes)
                .expect_err(reason)
                .to_string();
            assert!(refused.contains(reason), "{reason}: {refused}");
        }
    }
}
