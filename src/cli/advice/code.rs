//! What an advice is.

/// The exit code of a command: what whoever started it should think of next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Code {
    /// A check failed: what was given is not to be trusted.
    Refused = 1,
    /// The command or the configuration must change.
    Usage = 2,
    /// The token, the disk or the repository: try again.
    Trouble = 3,
}

/// The exit code, and what to do next, if there is anything to say.
pub(in crate::cli) type Advice = (Code, Option<String>);

/// An advice with something to do in it.
pub(super) fn hint(code: Code, text: impl Into<String>) -> Advice {
    (code, Some(text.into()))
}

/// The advice that an error brings along: the class of its code decides the exit code.
pub(in crate::cli) fn diagnosed(error: &dyn miette::Diagnostic) -> Advice {
    let code = error.code().expect("every error has a code").to_string();
    let exit = match code.split_once("::").expect("a class and a name").0 {
        "refused" => Code::Refused,
        "usage" => Code::Usage,
        "trouble" => Code::Trouble,
        class => panic!("no exit code for `{class}`"),
    };
    (exit, error.help().map(|help| help.to_string()))
}
