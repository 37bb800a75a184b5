//! The signing host: grants, approvals, tokens, the log.

mod anchors;
mod approvals;
mod cards;
mod contract;
mod grants;
mod journey;
mod no_room;
mod pins;
mod reconcile;
mod side_by_side;
mod transparency;
