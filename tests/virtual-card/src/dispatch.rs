//! Which part of the firmware answers which request of the applet.

use trussed::backend::{Backend as _, BackendId};
use trussed::serde_extensions::{ExtensionDispatch, ExtensionId, ExtensionImpl};
use trussed::service::ServiceResources;
use trussed::types::Context;
use trussed_auth::AuthExtension;
use trussed_auth_backend::{AuthBackend, AuthContext, FilesystemLayout};
use trussed_chunked::ChunkedExtension;
use trussed_core::Error;
use trussed_core::api::{Reply, Request, reply, request};
use trussed_core::types::{Bytes, Location};
use trussed_rsa_alloc::SoftwareRsa;
use trussed_staging::{StagingBackend, StagingContext};
use trussed_wrap_key_to_file::WrapKeyToFileExtension;

use trussed::platform::Platform;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Auth,
    Staging,
    Rsa,
}
/// In the order in which they are asked.
pub(crate) const BACKENDS: &[BackendId<Backend>] = &[
    BackendId::Custom(Backend::Staging),
    BackendId::Custom(Backend::Auth),
    BackendId::Custom(Backend::Rsa),
    BackendId::Core,
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Extension {
    Auth,
    Wrap,
    Chunked,
}
impl From<Extension> for u8 {
    fn from(e: Extension) -> u8 {
        e as u8
    }
}
impl TryFrom<u8> for Extension {
    type Error = Error;
    fn try_from(id: u8) -> Result<Self, Error> {
        [Self::Auth, Self::Wrap, Self::Chunked]
            .get(usize::from(id))
            .copied()
            .ok_or(Error::InternalError)
    }
}

pub(crate) struct Dispatch {
    auth: AuthBackend,
    staging: StagingBackend,
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        let hardware = Bytes::try_from(&b"virtual card"[..]).expect("a short key");
        Self {
            auth: AuthBackend::with_hw_key(Location::Internal, hardware, FilesystemLayout::V0),
            staging: StagingBackend::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct DispatchContext {
    auth: AuthContext,
    staging: StagingContext,
}
impl ExtensionId<AuthExtension> for Dispatch {
    type Id = Extension;
    const ID: Extension = Extension::Auth;
}
impl ExtensionId<WrapKeyToFileExtension> for Dispatch {
    type Id = Extension;
    const ID: Extension = Extension::Wrap;
}
impl ExtensionId<ChunkedExtension> for Dispatch {
    type Id = Extension;
    const ID: Extension = Extension::Chunked;
}
impl ExtensionDispatch for Dispatch {
    type BackendId = Backend;
    type Context = DispatchContext;
    type ExtensionId = Extension;

    fn core_request<P: Platform>(
        &mut self,
        backend: &Backend,
        ctx: &mut Context<DispatchContext>,
        request: &Request,
        res: &mut ServiceResources<P>,
    ) -> Result<Reply, Error> {
        match backend {
            Backend::Auth => self
                .auth
                .request(&mut ctx.core, &mut ctx.backends.auth, request, res),
            Backend::Staging => {
                self.staging
                    .request(&mut ctx.core, &mut ctx.backends.staging, request, res)
            }
            Backend::Rsa => SoftwareRsa.request(&mut ctx.core, &mut (), request, res),
        }
    }

    fn extension_request<P: Platform>(
        &mut self,
        backend: &Backend,
        extension: &Extension,
        ctx: &mut Context<DispatchContext>,
        request: &request::SerdeExtension,
        res: &mut ServiceResources<P>,
    ) -> Result<reply::SerdeExtension, Error> {
        let (core, b) = (&mut ctx.core, &mut ctx.backends);
        match (backend, extension) {
            (Backend::Auth, Extension::Auth) => {
                self.auth
                    .extension_request_serialized(core, &mut b.auth, request, res)
            }
            (Backend::Staging, Extension::Wrap) => {
                ExtensionImpl::<WrapKeyToFileExtension>::extension_request_serialized(
                    &mut self.staging,
                    core,
                    &mut b.staging,
                    request,
                    res,
                )
            }
            (Backend::Staging, Extension::Chunked) => {
                ExtensionImpl::<ChunkedExtension>::extension_request_serialized(
                    &mut self.staging,
                    core,
                    &mut b.staging,
                    request,
                    res,
                )
            }
            _ => Err(Error::RequestNotAvailable),
        }
    }
}
