use serde_json::{Value, json};

use super::*;
use proptest::prelude::*;

/// A policy with these fields beside its format.
fn read(fields: &Value) -> Result<Policy, Malformed> {
    let mut policy = json!({ "format": FORMAT });
    let fields = fields.as_object().expect("an object").clone();
    policy.as_object_mut().expect("an object").extend(fields);
    Policy::parse(policy.to_string().as_bytes())
}

fn policy(fields: &Value) -> Policy {
    read(fields).unwrap_or_else(|error| panic!("{fields}: {error}"))
}

fn alice() -> Value {
    json!([{ "name": "alice", "ssh": ["ssh-ed25519 AAAA"] }, { "name": "bob", "openpgp": ["…"] }])
}

const VECTOR: &str = include_str!("../../../tests/data/policy.json");

#[test]
fn the_documented_vector_is_read() {
    let page = include_str!("../../../docs/reference/policy.md");
    assert!(page.contains(VECTOR));
    let policy = Policy::parse(VECTOR.as_bytes()).expect("the vector");
    let names: Vec<_> = policy
        .approvers()
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
}

/// What is said of a release `PROJECT VERSION` of which this is shown; nothing if it is accepted.
fn said(policy: &Policy, release: &str, shown: Shown<'_>) -> String {
    let (project, version) = release.split_once(' ').expect("both");
    let facts = Facts {
        project: &project.parse().expect("a name"),
        version: &version.parse().expect("a version"),
        shown,
    };
    let by_name = policy.judge_name(facts.project, facts.version);
    let by_all = policy.judge(&facts);
    if by_name.is_err() {
        assert_eq!(by_all, by_name, "the name is judged with the rest too");
    }
    by_all.err().map(|why| why.to_string()).unwrap_or_default()
}

fn whole<'a>(scheme: Scheme, builders: usize, approvers: &'a BTreeSet<ApproverName>) -> Shown<'a> {
    Shown::Whole {
        scheme,
        builders,
        approvers,
    }
}

#[test]
fn each_rule_refuses_what_it_is_about_and_says_both_values() {
    let by = |names: &[&str]| -> BTreeSet<ApproverName> {
        names.iter().map(|it| it.parse().expect("a name")).collect()
    };
    let (nobody, alice_alone) = (by(&[]), by(&["alice"]));
    let plain = whole(Scheme::OpenPgp, 1, &nobody);
    let file = |proof| Shown::File { proof };
    let series = json!({ "all": {
        "least_version": "2.1", "series": { "1.9": "1.9.4", "1.9.8": "1.9.8.2" }
    }});
    let two = json!({ "all": { "quorum": 2 } });
    let schemes = json!({ "all": { "schemes": ["openpgp", "dsse"] } });
    let both = json!({ "all": { "approvals": 2 }, "approvers": alice() });
    let proof = json!({ "all": { "log_proof": true } });
    let projects = json!({
        "all": { "least_version": "1" },
        "projects": { "foo": {}, "bar": { "quorum": 2, "least_version": "2" } },
    });
    let older = "is too old; the policy requires version";
    for (policy_of, release, shown, expected) in [
        (&json!({}), "foo 1.0", plain, String::new()),
        (&json!({}), "foo 1.0", file(false), String::new()),
        (&projects, "foo 1.0", plain, String::new()),
        (
            &projects,
            "baz 1.0",
            plain,
            "is of project `baz`; the policy accepts bar, foo".to_owned(),
        ),
        (
            &projects,
            "Foo 1.0",
            plain,
            "is of project `Foo`; the policy accepts bar, foo".to_owned(),
        ),
        // The rules for all and those of the project both apply.
        (
            &projects,
            "foo 0.9",
            plain,
            format!("{older} 1, or a later one"),
        ),
        (
            &projects,
            "bar 1.5",
            plain,
            format!("{older} 2, or a later one"),
        ),
        (
            &projects,
            "bar 2",
            plain,
            "has evidence of 1 builder; the policy requires 2".to_owned(),
        ),
        (
            &projects,
            "bar 2",
            whole(Scheme::OpenPgp, 2, &nobody),
            String::new(),
        ),
        (&series, "foo 2.1", plain, String::new()),
        (&series, "foo 1:0", plain, String::new()),
        (
            &series,
            "foo 2.1rc1",
            plain,
            format!("{older} 2.1, or a later one"),
        ),
        (&series, "foo 1.9.4", plain, String::new()),
        (
            &series,
            "foo 1.9.3",
            file(false),
            format!("{older} 1.9.4 of series 1.9, or a later one"),
        ),
        (
            &series,
            "foo 1.9",
            plain,
            format!("{older} 1.9.4 of series 1.9, or a later one"),
        ),
        // The longest series decides, and what only looks like it is in none.
        (
            &series,
            "foo 1.9.8.1",
            plain,
            format!("{older} 1.9.8.2 of series 1.9.8, or a later one"),
        ),
        (&series, "foo 1.9.80", plain, String::new()),
        (
            &series,
            "foo 1.90",
            plain,
            format!("{older} 2.1, or a later one"),
        ),
        (
            &two,
            "foo 1",
            whole(Scheme::Dsse, 0, &nobody),
            "has evidence of 0 builders; the policy requires 2".to_owned(),
        ),
        (&two, "foo 1", whole(Scheme::Dsse, 3, &nobody), String::new()),
        (
            &schemes,
            "foo 1",
            whole(Scheme::Hmac, 9, &nobody),
            "has evidence of scheme hmac; the policy accepts openpgp, dsse".to_owned(),
        ),
        (
            &schemes,
            "foo 1",
            whole(Scheme::Dsse, 1, &nobody),
            String::new(),
        ),
        (
            &both,
            "foo 1",
            plain,
            "is approved by none of the policy's approvers; the policy requires 2".to_owned(),
        ),
        (
            &both,
            "foo 1",
            whole(Scheme::OpenPgp, 1, &alice_alone),
            "is approved by 1 (alice) of the policy's approvers; the policy requires 2".to_owned(),
        ),
        (
            &both,
            "foo 1",
            whole(Scheme::OpenPgp, 1, &by(&["alice", "bob"])),
            String::new(),
        ),
        (&proof, "foo 1", file(true), String::new()),
        (
            &proof,
            "foo 1",
            file(false),
            "comes without a proof from the log; the policy requires one: give it with `--proof`"
                .to_owned(),
        ),
        (
            &proof,
            "foo 1",
            plain,
            "has no proof from the log as a whole; the policy requires one: verify its files, each \
             with `--proof`"
                .to_owned(),
        ),
    ] {
        let expected = match expected.as_str() {
            "" => String::new(),
            why => format!("release {release} {why}"),
        };
        assert_eq!(said(&policy(policy_of), release, shown), expected);
    }
    for (rule, policy_of) in [("quorum", two), ("schemes", schemes), ("approvals", both)] {
        let why = said(&policy(&policy_of), "foo 1", file(true));
        let expected = format!("`{rule}` of the policy is about its evidence: verify its folder");
        assert!(why.ends_with(&expected), "{why}");
    }
}

#[test]
fn a_policy_that_says_less_than_it_seems_to_is_refused() {
    for (fields, why) in [
        (json!({ "colour": "red" }), "unknown field `colour`"),
        (json!({ "all": { "qourum": 2 } }), "unknown field `qourum`"),
        (
            json!({ "projects": { "foo": { "all": {} } } }),
            "unknown field `all`",
        ),
        (json!({ "projects": {} }), "`projects` is empty"),
        (json!({ "projects": null }), "invalid type: null"),
        (json!({ "projects": ["foo"] }), "invalid type: sequence"),
        (json!({ "projects": { "a b": {} } }), "project name `a b`"),
        (json!({ "projects": { "foo": [] } }), "expected an object"),
        (json!({ "all": [] }), "expected an object"),
        (json!({ "all": { "quorum": null } }), "invalid type: null"),
        (json!({ "all": { "quorum": -1 } }), "invalid value"),
        (json!({ "all": { "quorum": "2" } }), "invalid type: string"),
        (
            json!({ "all": { "least_version": null } }),
            "invalid type: null",
        ),
        (json!({ "all": { "schemes": null } }), "invalid type: null"),
        (json!({ "all": { "schemes": [] } }), "`schemes` is empty"),
        (json!({ "all": { "schemes": ["x"] } }), "unknown variant"),
        (
            json!({
                "all": { "schemes": ["dsse"] }, "projects": { "foo": { "schemes": ["hmac"] } },
            }),
            "`schemes` of a project have none of those in `all`",
        ),
        (
            json!({ "all": { "quorum": 65 } }),
            "`quorum` is 65, but a grant has at most 64 builders",
        ),
        (
            json!({ "all": { "series": { "1.9": "1.9.4" } } }),
            "`series` needs a `least_version`",
        ),
        (
            json!({ "all": { "least_version": "2", "series": { "1.9": "1.10" } } }),
            "version `1.10` of series `1.9` is not in that series",
        ),
        (
            json!({ "all": { "least_version": "2", "series": { "1.9": "1.9", "v1.9": "1.9" } } }),
            "are the same",
        ),
        (
            json!({ "all": { "approvals": 1 } }),
            "`approvals` is 1, but the number of approvers is 0",
        ),
        (
            json!({ "approvers": alice(), "projects": { "foo": { "approvals": 3 } } }),
            "`approvals` is 3, but the number of approvers is 2",
        ),
        (
            json!({ "approvers": alice() }),
            "no `approvals` requires any of them",
        ),
        (
            json!({ "approvers": [{ "name": "alice" }], "all": { "approvals": 1 } }),
            "approver `alice` has no key",
        ),
        (
            json!({
                "approvers": [
                    { "name": "alice", "ssh": ["a"] }, { "name": "Alice", "ssh": ["b"] }
                ],
                "all": { "approvals": 1 },
            }),
            "approver `Alice` is listed twice",
        ),
        (
            json!({ "all": { "log_proof": true, "quorum": 1 } }),
            "nothing can satisfy both",
        ),
        (
            json!({ "all": { "log_proof": true }, "projects": { "foo": { "quorum": 1 } } }),
            "nothing can satisfy both",
        ),
    ] {
        let refused = read(&fields).expect_err(why).to_string();
        assert!(refused.contains(why), "{fields}: {refused}");
    }
    for (text, why) in [
        ("{}", "missing field `format`"),
        (
            r#"{"format":"countersign-policy/2"}"#,
            "is not `countersign-policy/1`",
        ),
        (
            r#"{"format":"countersign-policy/1","all":{"quorum":2},"all":{}}"#,
            "duplicate field `all`",
        ),
        (
            r#"{"format":"countersign-policy/1","projects":{"foo":{"quorum":2},"foo":{}}}"#,
            "key `foo` is twice in one object",
        ),
        (
            r#"{"format":"countersign-policy/1","all":{"least_version":"2","series":
               {"1.9":"1.9.4","1.9":"1.9.0"}}}"#,
            "key `1.9` is twice in one object",
        ),
        (r#"["countersign-policy/1"]"#, "is not a JSON object"),
    ] {
        let refused = Policy::parse(text.as_bytes()).expect_err(why).to_string();
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

proptest! {
    /// A version is judged by the least one of its series, or by the least of all, and a longer
    /// number is another one.
    #[test]
    fn each_series_has_its_own_least_version(
        major in 1..12_u32, minor in 0..120_u32, patch in 0..12_u32,
    ) {
        let policy = policy(&json!({ "all": {
            "least_version": "3.5", "series": { "1.9": "1.9.4", "2": "2.11" }
        }}));
        let accepted = match (major, minor) {
            (1, 9) => patch >= 4,
            (1, _) => false,
            (2, minor) => minor >= 11,
            (3, minor) => minor >= 5,
            _ => true,
        };
        for separator in ['.', '-', '+'] {
            let release = format!("foo {major}.{minor}{separator}{patch}");
            let said = said(&policy, &release, Shown::File { proof: false });
            // Of one series, what has another separator is not before or behind all of it.
            if separator == '.' || (major, minor) != (1, 9) {
                prop_assert_eq!(said.is_empty(), accepted, "{}: {}", release, said);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = Policy::parse(&bytes);
    }
}
