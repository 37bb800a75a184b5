//! Every limit of a grant binds at M as at H: a build that H must refuse does not cost its key.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

use crate::common::world::{Build, Granted, World, entry};
use crate::common::{listing, openpgp};

/// What a builder made, under which of the grants, and what else is beside it.
#[derive(Debug)]
struct Case {
    grant: usize,
    artifacts: BTreeMap<String, usize>,
    beside: Option<String>,
}

fn case(grants: usize) -> impl Strategy<Value = Case> {
    let good = "f[ab](\\.asc|\\.sig|\\.0123456789abcdef\\.asc)?";
    let any = "[fFg][ab]?(\\.asc|\\.Sig|\\.|:| |\\.mac)?|nul|SHA256SUMS|build\\.manifest";
    let name = prop_oneof![4 => good, 1 => any];
    let artifacts = prop::collection::btree_map(name, 0_usize..40, 1..5);
    let beside = prop::option::weighted(0.2, "fa\\.sig|notes|build\\.dsse\\.json");
    (0..grants, artifacts, beside).prop_map(|(grant, artifacts, beside)| Case {
        grant,
        artifacts,
        beside,
    })
}

/// A grant of each form and kind of evidence, each with tight limits.
fn grants(world: &World) -> Vec<Granted> {
    let mut grants = Vec::new();
    for form in ["each", "list"] {
        for evidence in ["manifest", "per-artifact"] {
            grants.push(world.grant_with(&[
                &"--form",
                &form,
                &"--evidence",
                &evidence,
                &"--artifact",
                &"[fFn]*",
                &"--max-count",
                &"3",
                &"--max-bytes",
                &"80",
            ]));
        }
    }
    grants
}

/// The evidence that a builder without any scruples makes.
fn attest_by_hand(granted: &Granted, build: &Build, artifacts: &BTreeMap<String, usize>) {
    let terms = granted.terms();
    if terms["evidence"] == "manifest" {
        let line = |(name, size): (&String, &usize)| entry(&vec![b'x'; *size], name);
        let lines: String = artifacts.iter().map(line).collect();
        return build.attest_by_hand(granted, granted.header() + &lines);
    }
    let key = openpgp::secret_key(&granted.key);
    let domain = terms["domain"].as_str().expect("a domain");
    for (name, size) in artifacts {
        let notations = [
            (format!("artifact@{domain}"), name.as_str()),
            (format!("grant@{domain}"), granted.id.as_str()),
        ];
        let notations = notations
            .each_ref()
            .map(|(name, value)| (name.as_str(), *value));
        let bytes = vec![b'x'; *size];
        let signature = openpgp::detached_with(&key, &bytes, &notations, SystemTime::now());
        fs::write(build.at(&format!("{name}.sig")), signature).expect("a signature");
    }
}

#[test]
fn the_build_machine_refuses_exactly_what_the_signing_host_refuses() {
    let world = World::ready();
    let grants = grants(&world);
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let counted = std::cell::RefCell::new([0; 2]);
    let ran = runner.run(&case(grants.len()), |case| {
        let granted = &grants[case.grant];
        let build = world.new_build("build");
        for (name, size) in &case.artifacts {
            fs::write(build.at(name), vec![b'x'; *size]).expect("an artifact");
        }
        if let Some(name) = &case.beside {
            fs::write(build.at(name), b"beside").expect("a file");
        }
        let before = listing(&build.folder);
        let paths: Vec<_> = case.artifacts.keys().map(|name| build.at(name)).collect();
        let paths: Vec<&dyn AsRef<std::ffi::OsStr>> = paths.iter().map(|it| it as _).collect();
        let attest = world.countersign(&[&"attest", &"--keep-key", &"--key", &granted.key]);
        let (at_m, _) = attest.with(&paths).run();
        if at_m.code != 0 {
            prop_assert_eq!(&listing(&build.folder), &before, "evidence was left");
            attest_by_hand(granted, &build, &case.artifacts);
        }
        let (at_h, _) = world.sign(granted, &build).with(&[&"--dry-run"]).run();
        counted.borrow_mut()[usize::from(at_m.code == 0)] += 1;
        prop_assert_eq!(at_m.code, at_h.code, "M: {:?}\nH: {:?}", at_m, at_h);
        prop_assert!(at_m.code < 2, "{:?}", at_m);
        Ok(())
    });
    ran.unwrap_or_else(|fault| panic!("{fault}"));
    let counted = counted.into_inner();
    assert!(counted.iter().all(|count| *count > 10), "{counted:?}");
}
