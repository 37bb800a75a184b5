//! What comes from the build machine to the signing host.

mod attacks;
mod evidence;
mod kept;
mod limits;
mod notyet;
mod quorum;
mod refusals;
mod schemes;
