//! H's home: the folder with its configuration, release certificate, ledger and grants.
//!
//! | file | what it has |
//! |---|---|
//! | `folder`, `new` | the home as a whole, opened or being set up |
//! | `locks` | what its processes lock, and in which order |
//! | `private`, `places` | who may read and write its files, and the folders of L that it names |
//! | `approvers`, `ballast`, `grants`, `log_key`, `nonces` | what is kept in it |

mod approvers;
mod ballast;
mod error;
mod folder;
mod grants;
mod locks;
mod log_key;
mod new;
mod nonces;
mod places;
mod private;

pub use error::HomeError;
pub use folder::Home;
pub use locks::{Alone, Held, HomeLock};
pub use new::NewHome;
pub(crate) use nonces::is_open;
