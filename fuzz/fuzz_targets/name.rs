//! Reads names, versions and patterns: one in each line.
#![no_main]

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use countersign::domain::grant::NamePattern;
use countersign::domain::name::{
    ApproverName, ArtifactName, BuilderName, ProjectName, Version, is_domain,
};
use countersign::domain::release::{folder_name, is_folder_name};
use countersign::domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines: Vec<_> = text.split('\n').take(8).collect();
    for line in &lines {
        let _ = is_domain(line);
        let _ = Timestamp::from_rfc3339(line);
        read::<Timestamp>(line);
        read::<ApproverName>(line);
        read::<BuilderName>(line);
    }
    let artifacts = all::<ArtifactName>(&lines);
    for name in &artifacts {
        assert_eq!(Path::new(name.as_str()).components().count(), 1);
    }
    for pattern in all::<NamePattern>(&lines) {
        artifacts.iter().for_each(|name| {
            pattern.matches(name);
        });
    }
    let versions = all::<Version>(&lines);
    for one in &versions {
        for other in &versions {
            let order = one.order(other);
            assert_eq!(order, other.order(one).reverse());
            assert!(one.is_in(one) && (order.is_ne() || one.is_in(other)));
        }
        for project in all::<ProjectName>(&lines) {
            assert!(is_folder_name(&folder_name(&project, one)));
        }
    }
});

fn all<T: FromStr + Display>(lines: &[&str]) -> Vec<T> {
    lines.iter().filter_map(|line| read(line)).collect()
}

/// Reads a value, which has one spelling.
fn read<T: FromStr + Display>(line: &str) -> Option<T> {
    let value: T = line.parse().ok()?;
    assert_eq!(value.to_string(), line);
    Some(value)
}
