//! L, where releases are served from, as far as it can be reached from here.

pub mod folder;
