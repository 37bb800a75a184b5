//! A verifier's policy: which releases it accepts, of those that are good.
//!
//! It is the verifier's own file, and nothing in a release changes it. The approvers' keys in it
//! are text here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::evidence::Scheme;
use super::grant::MOST_BUILDERS;
use super::json::{self, Object};
use super::key::pairs;
use super::malformed::Malformed;
use super::name::{ApproverName, ProjectName, Version, case_clashes};
use super::text::cut;

const FORMAT: &str = "countersign-policy/1";

/// The largest policy that is read, in bytes.
pub const LARGEST_POLICY: u64 = 1 << 20;
/// The longest list of names in a message, in characters.
const LONGEST_LIST: usize = 200;

/// Which releases are accepted. The default accepts each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    #[serde(rename = "format")]
    _format: Format,
    /// For every project.
    #[serde(default, deserialize_with = "json::object")]
    all: Rules,
    /// The only accepted ones, each with rules of its own beside those.
    #[serde(default, deserialize_with = "projects")]
    projects: Option<BTreeMap<ProjectName, Rules>>,
    #[serde(default, deserialize_with = "json::objects")]
    approvers: Vec<ApproverKeys>,
}

/// What a release must be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default, deserialize_with = "some")]
    least_version: Option<Version>,
    /// The least version in each series, which goes before `least_version` there.
    #[serde(default)]
    series: BTreeMap<Version, Version>,
    /// How many builders must have attested each artifact.
    #[serde(default)]
    quorum: u32,
    #[serde(default, deserialize_with = "some")]
    schemes: Option<Vec<Scheme>>,
    /// How many of the policy's approvers must have approved.
    #[serde(default)]
    approvals: u32,
    /// Whether a file needs a proof that its signature is in the log.
    #[serde(default)]
    log_proof: bool,
}

/// A person whose approval is counted, and their keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverKeys {
    /// The verifier's name for them.
    pub name: ApproverName,
    /// OpenPGP certificates in armour.
    #[serde(default)]
    pub openpgp: Vec<String>,
    /// SSH public keys, each a line as in `id_ed25519.pub`.
    #[serde(default)]
    pub ssh: Vec<String>,
}

json::one_format!(FORMAT);

/// What a release, or one file of it, shows.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// Its version.
    pub version: &'a Version,
    /// What shows it.
    pub shown: Shown<'a>,
}

/// What shows a release.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// All of it.
    Whole {
        /// The scheme of its evidence.
        scheme: Scheme,
        /// How many builders attested each artifact: the least number of any.
        builders: usize,
        /// The policy's approvers whose approvals are valid.
        approvers: &'a BTreeSet<ApproverName>,
    },
    /// One file.
    File {
        /// Whether it comes with a proof from the log.
        proof: bool,
    },
}

impl Policy {
    /// Reads a policy: unknown and duplicate fields are refused, and so is one that says less than
    /// it seems to say, or that nothing could satisfy.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let policy: Self = json::parse(bytes)?;
        json::check_keys(bytes)?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), Malformed> {
        let own: Vec<&Rules> = self.projects.iter().flat_map(BTreeMap::values).collect();
        if self.projects.is_some() && own.is_empty() {
            return Err(Malformed::new("`projects` is empty: nothing is accepted"));
        }
        let mut every = own.iter().copied().chain([&self.all]);
        every
            .clone()
            .try_for_each(|rules| rules.check(self.approvers.len()))?;
        let excluded = |own: &&Rules| Rules::exclude_each_other(&[&self.all, own]);
        if every.clone().any(|own| excluded(&own)) {
            return Err(Malformed::new(
                "`log_proof` is for single files, and `quorum`, `schemes` and `approvals` are for \
                 whole releases: nothing can satisfy both, so use two policies",
            ));
        }
        let disjoint = |own: &&Rules| match (&self.all.schemes, &own.schemes) {
            (Some(all), Some(own)) => !own.iter().any(|scheme| all.contains(scheme)),
            _ => false,
        };
        if own.iter().copied().any(|own| disjoint(&own)) {
            return Err(Malformed::new(
                "the `schemes` of a project have none of those in `all`: nothing is accepted",
            ));
        }
        if !self.approvers.is_empty() && every.all(|rules| rules.approvals == 0) {
            return Err(Malformed::new(
                "it lists approvers, but no `approvals` requires any of them",
            ));
        }
        self.check_approvers()
    }

    fn check_approvers(&self) -> Result<(), Malformed> {
        let mut approvers = self.approvers.iter();
        if let Some(nobody) = approvers.find(|it| it.openpgp.is_empty() && it.ssh.is_empty()) {
            return Err(Malformed::new(format!(
                "approver `{}` has no key",
                nobody.name
            )));
        }
        let names = self.approvers.iter().map(|it| it.name.as_str());
        match case_clashes(names).next() {
            Some((_, twice)) => Err(Malformed::new(format!(
                "approver `{twice}` is listed twice"
            ))),
            None => Ok(()),
        }
    }

    /// Those whose approvals are counted.
    pub fn approvers(&self) -> &[ApproverKeys] {
        &self.approvers
    }

    /// Whether it requires proofs from the log, which a whole release does not have.
    pub fn requires_proof(&self) -> bool {
        let own = self.projects.iter().flat_map(BTreeMap::values);
        own.chain([&self.all]).any(|rules| rules.log_proof)
    }

    /// Judges a release by its name alone: its project and its version.
    pub fn judge_name(&self, project: &ProjectName, version: &Version) -> Result<(), Malformed> {
        self.judge_by(project, version, |rules| rules.judge_version(version))
    }

    /// Judges all that a release shows, its name too.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<(), Malformed> {
        self.judge_by(facts.project, facts.version, |rules| {
            rules.judge_version(facts.version)?;
            rules.judge_shown(&facts.shown)
        })
    }

    fn judge_by(
        &self,
        project: &ProjectName,
        version: &Version,
        judge: impl Fn(&Rules) -> Result<(), String>,
    ) -> Result<(), Malformed> {
        self.rules(project)
            .and_then(|rules| rules.into_iter().try_for_each(judge))
            .map_err(|why| Malformed::new(format!("release {project} {version} {why}")))
    }

    /// The rules for a project, if it is accepted.
    fn rules(&self, project: &ProjectName) -> Result<Vec<&Rules>, String> {
        let Some(projects) = &self.projects else {
            return Ok(vec![&self.all]);
        };
        let own = projects.get(project).ok_or_else(|| {
            let names: Vec<_> = projects.keys().map(ProjectName::as_str).collect();
            let names = cut(&names.join(", "), LONGEST_LIST);
            format!("is of project `{project}`; the policy accepts {names}")
        })?;
        Ok(vec![&self.all, own])
    }
}

impl Rules {
    fn check(&self, approvers: usize) -> Result<(), Malformed> {
        if !self.series.is_empty() && self.least_version.is_none() {
            return Err(Malformed::new(
                "`series` needs a `least_version` beside it, for versions of no series",
            ));
        }
        if let Some((series, least)) = self.series.iter().find(|(it, least)| !least.is_in(it)) {
            return Err(Malformed::new(format!(
                "version `{least}` of series `{series}` is not in that series"
            )));
        }
        let series: Vec<_> = self.series.keys().collect();
        if let Some((one, other)) = pairs(&series).find(|(one, other)| one.order(other).is_eq()) {
            return Err(Malformed::new(format!(
                "series `{one}` and `{other}` are the same"
            )));
        }
        if self.schemes.as_ref().is_some_and(Vec::is_empty) {
            return Err(Malformed::new("`schemes` is empty: nothing is accepted"));
        }
        if self.quorum as usize > MOST_BUILDERS {
            return Err(Malformed::new(format!(
                "`quorum` is {}, but a grant has at most {MOST_BUILDERS} builders",
                self.quorum
            )));
        }
        if usize::try_from(self.approvals).is_ok_and(|needed| needed > approvers) {
            return Err(Malformed::new(format!(
                "`approvals` is {}, but the number of approvers is {approvers}",
                self.approvals
            )));
        }
        Ok(())
    }

    /// Whether nothing can satisfy all of these together.
    fn exclude_each_other(all: &[&Self]) -> bool {
        let proof = all.iter().any(|rules| rules.log_proof);
        proof && all.iter().any(|rules| rules.evidence_rule().is_some())
    }

    /// The first of the rules that need evidence.
    fn evidence_rule(&self) -> Option<&'static str> {
        let rules = [
            ("schemes", self.schemes.is_some()),
            ("quorum", self.quorum > 0),
            ("approvals", self.approvals > 0),
        ];
        rules.iter().find(|(_, set)| *set).map(|(name, _)| *name)
    }

    fn judge_version(&self, version: &Version) -> Result<(), String> {
        let Some(least) = &self.least_version else {
            return Ok(());
        };
        let its = self.series.iter().filter(|(it, _)| version.is_in(it));
        // Of those that it is in, each is in the others that are shorter.
        let its = its.reduce(|one, other| if other.0.is_in(one.0) { other } else { one });
        let (least, of) = match its {
            Some((series, least)) => (least, format!(" of series {series}")),
            None => (least, String::new()),
        };
        if version.order(least).is_lt() {
            return Err(format!(
                "is too old; the policy requires version {least}{of}, or a later one"
            ));
        }
        Ok(())
    }

    fn judge_shown(&self, shown: &Shown<'_>) -> Result<(), String> {
        match shown {
            Shown::Whole {
                scheme,
                builders,
                approvers,
            } => {
                if self.log_proof {
                    return Err(
                        "has no proof from the log as a whole; the policy requires one: verify \
                         its files, each with `--proof`"
                            .to_owned(),
                    );
                }
                self.judge_scheme(*scheme)?;
                self.judge_quorum(*builders)?;
                self.judge_approvals(approvers)
            }
            Shown::File { proof } => {
                if let Some(rule) = self.evidence_rule() {
                    return Err(format!(
                        "is not here as a whole; `{rule}` of the policy is about its evidence: \
                         verify its folder"
                    ));
                }
                if self.log_proof && !proof {
                    return Err(
                        "comes without a proof from the log; the policy requires one: give it with \
                         `--proof`"
                            .to_owned(),
                    );
                }
                Ok(())
            }
        }
    }

    fn judge_scheme(&self, found: Scheme) -> Result<(), String> {
        match &self.schemes {
            Some(schemes) if !schemes.contains(&found) => {
                let names: Vec<_> = schemes.iter().map(|it| it.name()).collect();
                let names = cut(&names.join(", "), LONGEST_LIST);
                Err(format!(
                    "has evidence of scheme {found}; the policy accepts {names}"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn judge_quorum(&self, found: usize) -> Result<(), String> {
        if is_enough(found, self.quorum) {
            return Ok(());
        }
        let builders = if found == 1 { "builder" } else { "builders" };
        Err(format!(
            "has evidence of {found} {builders}; the policy requires {}",
            self.quorum
        ))
    }

    fn judge_approvals(&self, found: &BTreeSet<ApproverName>) -> Result<(), String> {
        if is_enough(found.len(), self.approvals) {
            return Ok(());
        }
        let names: Vec<_> = found.iter().map(ApproverName::as_str).collect();
        let found = match names.len() {
            0 => "none".to_owned(),
            count => format!("{count} ({})", names.join(", ")),
        };
        Err(format!(
            "is approved by {found} of the policy's approvers; the policy requires {}",
            self.approvals
        ))
    }
}

fn is_enough(found: usize, required: u32) -> bool {
    usize::try_from(required).is_ok_and(|required| found >= required)
}

/// A field that may be left out, but is not `null`.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn projects<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<ProjectName, Rules>>, D::Error> {
    let rules = BTreeMap::<_, Object<Rules>>::deserialize(from)?;
    let rules = rules.into_iter().map(|(name, Object(rules))| (name, rules));
    Ok(Some(rules.collect()))
}

#[cfg(test)]
mod tests;
