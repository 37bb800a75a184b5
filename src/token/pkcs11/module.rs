//! A PKCS#11 module in this process: loaded and initialised once, and initialised again when its
//! tokens are lost.
//!
//! C_Finalize ends every session of the process, and their handles are then reused. So a session
//! remembers the *generation* of the module that it belongs to, and one of an older generation is
//! never used again: its handle could be that of another session.
//!
//! One call at a time, from any thread. Modules do not keep their promise (CKF_OS_LOCKING_OK):
//! SoftHSM2 crashes when two threads are in C_Initialize, Kryoptic blocks for ever when one logs in
//! while another looks for objects. A hardware token does one thing at a time anyway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, Result, Rv, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::slot::Slot;
use cryptoki_sys::{CK_FUNCTION_LIST, CK_SESSION_HANDLE, CK_ULONG};

use super::answer::{Failure, described};
use crate::files::changeable;
use crate::token::{Pkcs11Uri, TokenError};

/// The number of tries on SoftHSM2 (see [`Module::patiently`]).
const PATIENCE: u32 = 10;

/// The maximum length of a signature, in bytes: RSA with a modulus of 8192 bits.
const LONGEST_SIGNATURE: usize = 1024;

static LOADED: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// A PKCS#11 module, initialised.
pub(super) struct Module {
    context: Pkcs11,
    sign: SignFunction,
    /// SoftHSM2, whose tokens can be invisible while other processes log in to them.
    pub(super) is_softhsm: bool,
    state: Mutex<State>,
}

/// The state of a module. Locked during each call.
#[derive(Default)]
struct State {
    /// The number of C_Initialize calls.
    generation: u64,
    /// Sessions open in this generation.
    open: usize,
}

/// C_Sign
type SignFunction = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut u8,
    CK_ULONG,
    *mut u8,
    *mut CK_ULONG,
) -> cryptoki_sys::CK_RV;

/// A read-only or read-write session. It is closed when dropped; the last one of a token logs
/// out.
pub(super) struct Session {
    module: Arc<Module>,
    session: Option<cryptoki::session::Session>,
    generation: u64,
}

impl Module {
    /// The module that `uri` names.
    pub(super) fn of(uri: &Pkcs11Uri) -> std::result::Result<Arc<Self>, TokenError> {
        let path = uri.module_path().ok_or_else(|| TokenError::Incomplete {
            uri: uri.into(),
            missing: "a PKCS#11 module",
            attribute: "?module-path=/path/to/module.so",
        })?;
        Self::load(path)
    }

    /// The module in the file at `path`, which is loaded unless it is already.
    fn load(path: &Path) -> std::result::Result<Arc<Self>, TokenError> {
        let refuse = |reason: String| TokenError::Module {
            module: path.display().to_string(),
            reason,
        };
        // The loader would search its own folders for a name without a `/`.
        let file = path
            .canonicalize()
            .map_err(|error| refuse(error.to_string()))?;
        let status = file.metadata();
        if let Some(reason) = changeable(&status.map_err(|error| refuse(error.to_string()))?) {
            return Err(refuse(reason));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&file) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&file).map_err(|error| refuse(error.to_string()))?;
        let sign = sign_function(&file).ok_or_else(|| refuse("it has no C_Sign".to_owned()))?;
        initialise(&context).map_err(|error| refuse(described(&error)))?;
        let is_softhsm = context
            .get_library_info()
            .is_ok_and(|info| info.manufacturer_id().contains("SoftHSM"));
        let module = Self {
            context,
            sign,
            is_softhsm,
            state: Mutex::default(),
        };
        let module = Arc::new(module);
        loaded.insert(file, Arc::clone(&module));
        Ok(module)
    }

    /// Calls the module outside of any session.
    pub(super) fn call<T>(&self, call: impl FnOnce(&Pkcs11) -> Result<T>) -> Result<T> {
        let _state = self.state();
        call(&self.context)
    }

    /// Opens a session.
    pub(super) fn session(self: &Arc<Self>, slot: Slot, read_write: bool) -> Result<Session> {
        let mut state = self.state();
        let session = if read_write {
            self.context.open_rw_session_no_drop(slot)
        } else {
            self.context.open_ro_session_no_drop(slot)
        };
        let session = Some(session?);
        state.open += 1;
        Ok(Session {
            module: Arc::clone(self),
            session,
            generation: state.generation,
        })
    }

    /// C_Finalize and C_Initialize, unless they were called since `generation`. A lost token needs
    /// it: a module does not notice by itself that it is back.
    pub(super) fn renew(&self, generation: u64) -> Result<()> {
        let mut state = self.state();
        if state.generation != generation {
            return Ok(());
        }
        *state = State {
            generation: generation + 1,
            open: 0,
        };
        // A module that lost its token may refuse to end; initialising it shows whether it is
        // usable.
        let _ = self.context.clone().finalize();
        initialise(&self.context)
    }

    /// Repeats an attempt to find or open a token after a transient failure. The module is renewed
    /// before each further try.
    ///
    /// SoftHSM2 rewrites a token's file in place at each login, so a process that reads it at that
    /// moment sees no such token or gets CKR_GENERAL_ERROR. Only another try can show this; there
    /// are [`PATIENCE`] tries. Other modules are renewed once, which restores a broken connection.
    /// Nothing is renewed while the process has other sessions open on the module, because that
    /// would end them.
    pub(super) fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> std::result::Result<T, Failure>,
    ) -> std::result::Result<T, TokenError> {
        let tries = if self.is_softhsm { PATIENCE } else { 2 };
        for tried in 1..tries {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) if failure.transient => {
                    let State { generation, open } = *self.state();
                    if open > 0 {
                        return Err(failure.error);
                    }
                    if self.is_softhsm {
                        back_off(tried);
                    }
                    // If it fails, the next attempt reports it.
                    let _ = self.renew(generation);
                }
                Err(failure) => return Err(failure.error),
            }
        }
        attempt().map_err(TokenError::from)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Calls the module in this session; CKR_SESSION_HANDLE_INVALID if the module was renewed since
    /// the session was opened.
    pub(super) fn call<T>(
        &self,
        call: impl FnOnce(&cryptoki::session::Session) -> Result<T>,
    ) -> Result<T> {
        let state = self.module.state();
        match &self.session {
            Some(session) if state.generation == self.generation => call(session),
            _ => Err(Error::Pkcs11(
                RvError::SessionHandleInvalid,
                Function::GetSessionInfo,
            )),
        }
    }

    /// C_SignInit, what `between` does, and one C_Sign.
    ///
    /// Not cryptoki's `sign`: it has no place for the login in between that CKA_ALWAYS_AUTHENTICATE
    /// requires (ECDSA has no multi-part form with one), and it calls C_Sign twice, the first time
    /// for the size.
    pub(super) fn sign<E: From<Error>>(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        between: impl FnOnce(&cryptoki::session::Session) -> std::result::Result<(), E>,
    ) -> std::result::Result<Vec<u8>, E> {
        self.call(|session| {
            session.sign_init(mechanism, key)?;
            Ok(between(session)
                .and_then(|()| c_sign(self.module.sign, session, data).map_err(E::from)))
        })?
    }

    /// The generation of its module.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.module.state();
        if let Some(session) = self.session.take()
            && state.generation == self.generation
        {
            // A session that cannot be closed is lost already.
            let _ = session.close();
            state.open -= 1;
        }
    }
}

fn initialise(context: &Pkcs11) -> Result<()> {
    let mut tried = 0;
    loop {
        tried += 1;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another user of the module in this process has initialised it.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => return Ok(()),
            // SoftHSM2, reading a token that another process is writing.
            Err(Error::Pkcs11(RvError::GeneralError, _)) if tried < PATIENCE => back_off(tried),
            Err(error) => return Err(error),
        }
    }
}

/// Waits from 5 ms, doubling up to 200 ms, and up to as much again by process id: processes that
/// collided once must not collide again.
pub(super) fn back_off(tried: u32) {
    let step = (5_u64 << tried.saturating_sub(1).min(6)).min(200);
    let jitter = u64::from(std::process::id().wrapping_mul(2_654_435_761) >> (tried % 16)) % step;
    std::thread::sleep(Duration::from_millis(step + jitter));
}

#[expect(
    unsafe_code,
    reason = "cryptoki does not expose the functions of a module"
)]
fn sign_function(file: &Path) -> Option<SignFunction> {
    let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
    // SAFETY: `file` is loaded already, as the PKCS#11 module that the user chose; loading it again
    // runs none of its code and gives the same module. C_GetFunctionList is called only if it
    // exists, and writes one pointer. The pointer is checked, and by the standard points to a list
    // that lives as long as the module: as long as the process, because the table of modules keeps
    // each.
    unsafe {
        let library = cryptoki_sys::Pkcs11::new(file).ok()?;
        library.C_GetFunctionList.as_ref().ok()?;
        let answer = Rv::from(library.C_GetFunctionList(&raw mut list));
        answer.into_result(Function::GetFunctionList).ok()?;
        list.as_ref()?.C_Sign
    }
}

#[expect(
    unsafe_code,
    reason = "cryptoki has no single-part signature without C_SignInit"
)]
fn c_sign(
    function: SignFunction,
    session: &cryptoki::session::Session,
    data: &[u8],
) -> Result<Vec<u8>> {
    let mut signature = vec![0; LONGEST_SIGNATURE];
    let mut length = CK_ULONG::try_from(signature.len())?;
    let data_length = CK_ULONG::try_from(data.len())?;
    // SAFETY: `function` is C_Sign of the module that opened `session`, and the module stays
    // loaded. Both buffers are valid for their lengths during the call; the module only reads the
    // first, which C cannot express.
    let answer = unsafe {
        function(
            session.handle(),
            data.as_ptr().cast_mut(),
            data_length,
            signature.as_mut_ptr(),
            &raw mut length,
        )
    };
    Rv::from(answer).into_result(Function::Sign)?;
    // A length beyond the buffer is false; truncating to it would keep all of the buffer.
    let length = usize::try_from(length)?;
    if length > signature.len() {
        return Err(Error::InvalidValue);
    }
    signature.truncate(length);
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_others_can_write_is_not_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("module.so");
        std::fs::write(&path, b"no module").expect("written");
        for (mode, writable) in [(0o666, true), (0o664, true), (0o755, false)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("its mode");
            let Err(TokenError::Module { reason, .. }) = Module::load(&path) else {
                panic!("it was loaded")
            };
            let said = reason.contains("others than its owner can write it");
            assert_eq!(said, writable, "{reason}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_module_is_refused() {
        for path in ["/nonexistent/module.so", "/etc/passwd", "module.so"] {
            assert!(
                matches!(
                    Module::load(Path::new(path)),
                    Err(TokenError::Module { .. })
                ),
                "{path}"
            );
        }
    }
}
