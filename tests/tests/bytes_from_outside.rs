//! Whatever bytes come from outside: every seed in `fixtures/fuzz/`, and some thousand mutations of each target's seeds.
//!
//! A failure names the input's file, or puts the mutation into one. Longer searches: `make fuzz`.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use offhook_engine::sim::Dice;
use offhook_tests::fuzz::{TARGETS, Target, mutated, recorded_call};

fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/fuzz").join(target.name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut seeds: Vec<_> =
        files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect();
    if target.name == "journal" {
        // Of the version that is read, whichever that is.
        seeds.push(("a call of now".into(), recorded_call().to_vec()));
    }
    seeds
}

#[test]
fn every_seed_is_taken() {
    for target in &TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        for (file, bytes) in seeds {
            let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
            assert!(ran.is_ok(), "{}: {}", target.name, file.display());
        }
    }
}

#[test]
fn every_folder_of_seeds_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/fuzz");
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let known = TARGETS.iter().any(|target| target.name == name);
        assert!(known || !entry.path().is_dir(), "no target is called {name}");
    }
}

/// Mutates all seeds of a target, from a fixed seed.
fn mutate(target: &Target) {
    let seeds = seeds(target);
    let mut dice = Dice::new(0x0FF_0000 + u64::from(target.mutations));
    for n in 0..target.mutations {
        let (_, seed) = &seeds[dice.below(seeds.len() as u64) as usize];
        let (_, other) = &seeds[dice.below(seeds.len() as u64) as usize];
        let bytes = mutated(&mut dice, seed, other);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
            let file = std::env::temp_dir().join(format!("{}-{n}", target.name));
            std::fs::write(&file, &bytes).unwrap();
            panic!("{}: mutation {n} is in {}", target.name, file.display());
        }
    }
}

macro_rules! mutations {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            mutate(offhook_tests::fuzz::find(stringify!($target)).unwrap());
        })*

        #[test]
        fn every_target_is_mutated() {
            let named = [$(stringify!($target)),*];
            assert!(TARGETS.iter().all(|target| named.contains(&target.name)));
        }
    };
}

/// Named for the targets, so that one runs alone.
mod mutations_of {
    use super::*;

    mutations!(twilio twilio_outgoing base64 websocket wav ogg opus journal settings scenario callers form json twiml);
}
