//! A builder's key on a token of its own. M has the host's program then.

use crate::domain::grant::Grant;
use crate::domain::key::{HashAlgorithm, KeyKind};
use crate::domain::signing::{Message, Statement};
use crate::domain::time::Timestamp;
use crate::openpgp::{
    self, Certificate, HashState, MakeError, NewCertificate, SigningKey, make_certificate,
    make_evidence_signature,
};
use crate::steps::builder::build_key::{BuildKey, BuildKeyError, EvidenceSigner, not_in};
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::token::{self, Interaction, RefusedPins, Token, TokenError, TokenUri};

/// The builder's key on `token`, whose public half is among those of `grant`.
pub fn on_token<'a>(
    grant: &Grant,
    token: Box<dyn Token>,
    interaction: &'a mut dyn Interaction,
    now: Timestamp,
) -> Result<BuildKey<'a>, BuildKeyError> {
    for (builder, key) in Builders::of(grant.terms())?.iter() {
        let BuilderKey::OpenPgp(certificate) = key else {
            continue;
        };
        let keys = certificate.signing_keys(now).unwrap_or_default();
        if let Some(key) = keys.into_iter().find(|key| key.public() == token.public()) {
            let key = TokenKey {
                certificate: (**certificate).clone(),
                key,
                token,
                interaction,
            };
            return Ok(BuildKey::elsewhere(grant, builder, Box::new(key)));
        }
    }
    Err(not_in(grant))
}

/// Makes an OpenPGP key on a builder's own token, and the certificate that a grant takes.
pub fn generate_on(
    uri: &TokenUri,
    kind: KeyKind,
    user_id: &str,
    now: Timestamp,
    expires: Timestamp,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, BuilderKey), MakeError<TokenError>> {
    let fingerprint = |public: &_| openpgp::fingerprint_of(public, now);
    let new = token::NewKey {
        kind,
        created: now,
        fingerprint: &fingerprint,
        replace: false,
    };
    let (uri, mut token) =
        token::generate(uri, &new, pins, interaction).map_err(MakeError::Token)?;
    let public = token.public().clone();
    let new = NewCertificate {
        user_id: user_id.to_owned(),
        created: now,
        signed: now,
        expires: Some(expires),
        hash: public.least_hash(),
        domain: None,
    };
    let mut sign = |message: &Message<'_>| token::sign(&mut *token, message, interaction);
    let (certificate, _revocation) = make_certificate(&public, &new, &mut sign)?;
    Ok((uri, BuilderKey::OpenPgp(certificate.into())))
}

struct TokenKey<'a> {
    certificate: Certificate,
    key: SigningKey,
    token: Box<dyn Token>,
    interaction: &'a mut dyn Interaction,
}

impl EvidenceSigner for TokenKey<'_> {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn expires(&self) -> Option<Timestamp> {
        self.key.expires()
    }

    fn hash(&self) -> HashAlgorithm {
        self.key.public().least_hash()
    }

    fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, BuildKeyError> {
        let what = Statement::evidence(now, self.hash(), notations.to_vec());
        let mut sign =
            |message: &Message<'_>| token::sign(&mut *self.token, message, &mut *self.interaction);
        make_evidence_signature(&self.key, state, &what, &mut sign)
            .map_err(|error| BuildKeyError::Elsewhere(Box::new(error)))
    }
}
