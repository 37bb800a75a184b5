//! Runs of the program that go on by themselves.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::world::{Build, Granted, World};
use super::{Arguments, clean_environment};

/// A run of the program that goes on by itself, and what it prints.
pub(crate) struct Started {
    pub(crate) process: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Started {
    pub(crate) fn with(world: &World, arguments: Arguments<'_>) -> Self {
        let (variable, socket) = world.reader().env();
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        clean_environment(&mut command, &world.at("")).env(variable, socket);
        command
            .arg("--home")
            .arg(world.home())
            .args(arguments.iter().map(|argument| argument.as_ref()));
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("countersign");
        let said = BufReader::new(process.stderr.take().expect("standard error is piped")).lines();
        Self { process, said }
    }

    pub(crate) fn sign(world: &World, granted: &Granted, build: &Build) -> Self {
        let release = world.release(granted);
        Self::with(
            world,
            &[
                &"sign",
                &granted.grant,
                &"--from",
                &build.folder,
                &"-o",
                &release,
            ],
        )
    }

    /// Waits until it prints this.
    #[track_caller]
    pub(crate) fn until_it_says(&mut self, words: &str) {
        let said = self
            .said
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(words));
        assert!(said.is_some(), "it ended without saying `{words}`");
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("its end");
    }

    /// Waits until it ends: with what code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.process.wait().expect("its end").code()
    }
}
