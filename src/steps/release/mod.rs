//! A finished release, as the location and anybody else see it: verified, admitted, looked up in the
//! log.

pub mod admit;
pub mod logged;
pub mod verify;
