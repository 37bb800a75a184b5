//! The build machine and the location, whose program has no signing host in it.

mod builder;
